-- Every bronze row, typed and checked: `broken_rule` names the first rule that the row breaks.
-- The rules are those of the coin at the time of the quote (macros/asset_versions.sql).
-- Only this model has the business rules. crypto_stage keeps the rows that pass, crypto_quarantine the others.
{{ config(materialized='view') }}

with

records as (

    select * from {{ ref('crypto_raw') }}

),

assets as (

    {{ asset_versions(ref('assets'), ref('assets_history')) }}

),

symbols as (

    {{ asset_symbols(ref('assets'), ref('assets_history')) }}

),

typed as (

    select
        record_id,
        kafka_topic,
        kafka_partition,
        kafka_offset,
        kafka_timestamp,
        record,
        source_file,
        loaded_at,
        {{ is_blank('id') }}
        or {{ is_blank('symbol') }}
        or {{ is_blank('name') }}
        or {{ is_blank('price') }}
        or {{ is_blank('last_updated') }} as has_missing_field,
        try_cast(price as double) is null as has_unreadable_price,
        try_cast({{ trimmed('id') }} as bigint) as id,
        upper({{ trimmed('symbol') }}) as symbol,
        {{ trimmed('name') }} as name,
        try_cast(price as decimal(18, 8)) as price,
        -- the time of a quote is cut to the millisecond, as in quote_id
        date_trunc('millisecond', {{ timestamp_from_iso(trimmed('last_updated')) }}) as last_updated
        {%- for field, type in promoted_fields().items() %},
        {{ promoted_value(field, type) }} as {{ field }}
        {%- endfor %}
    from records

),

checked as (

    select
        typed.*,
        {{ data_quality_check([
            {'name': 'missing_field', 'broken_when': 'typed.has_missing_field'},
            {'name': 'unreadable_id', 'broken_when': 'typed.id is null'},
            {'name': 'unreadable_price', 'broken_when': 'typed.has_unreadable_price'},
            {'name': 'unreadable_time', 'broken_when': 'typed.last_updated is null'},
            {'name': 'unknown_asset', 'broken_when': 'assets.id is null'},
            {'name': 'wrong_symbol', 'broken_when': 'symbols.id is null'},
            {'name': 'price_out_of_bounds',
             'broken_when': 'typed.price is null or typed.price not between assets.min_price and assets.max_price'},
            {'name': 'before_first_trade', 'broken_when': 'typed.last_updated < assets.first_traded'},
            {'name': 'from_the_future',
             'broken_when': "typed.last_updated > typed.kafka_timestamp + interval '"
                            ~ var('future_tolerance_minutes') ~ "' minute"},
        ]) }} as broken_rule
    from typed
    left join assets
        on
            typed.id = assets.id
            and typed.last_updated >= assets.valid_from
            and typed.last_updated < assets.valid_to
    left join symbols
        on
            typed.id = symbols.id
            and typed.symbol = symbols.symbol

)

select
    record_id,
    kafka_topic,
    kafka_partition,
    kafka_offset,
    kafka_timestamp,
    id,
    symbol,
    name,
    price,
    last_updated,
    {%- for field in promoted_fields() %}
    {{ field }},
    {%- endfor %}
    broken_rule,
    record,
    source_file,
    loaded_at
from checked
