{#-
    Selects the rules of each coin by time: one row for each version of the coin in the seed, with the time from which
    (`valid_from`) and until which (`valid_to`) it holds for quotes. There is one version at each instant.

    A quote that was accepted must stay accepted when the seed changes and silver is rebuilt. A quote that was refused
    may come in when the seed is corrected. So the bounds of a version are the widest of its own and of all later ones,
    and the symbol may be any that the coin ever had (`asset_symbols`).

    The first version holds for all time before it. The last version is the seed's row. Without the snapshot
    `assets_history`, which `dbt build` makes before silver, the seed's row is the only version.
-#}
{% macro asset_versions(assets, history) -%}
    select
        id,
        min(min_price) over (
            partition by id order by valid_from rows between current row and unbounded following
        ) as min_price,
        max(max_price) over (
            partition by id order by valid_from rows between current row and unbounded following
        ) as max_price,
        min(first_traded) over (
            partition by id order by valid_from rows between current row and unbounded following
        ) as first_traded,
        valid_from,
        lead(valid_from, 1, timestamp '9999-12-31 00:00:00') over (partition by id order by valid_from) as valid_to
    from ({{ recorded_versions(assets, history) }}) as recorded
{%- endmacro %}


{# The table of the snapshot, none if it was not built. For data tests, which refer to their table and the seed only. #}
{% macro built_history() -%}
    {%- if execute -%}
        {%- set node = graph.nodes.values() | selectattr("name", "equalto", "assets_history") | first -%}
        {{- return(adapter.get_relation(node.database, node.schema, node.alias)) -}}
    {%- endif -%}
    {{- return(none) -}}
{%- endmacro %}


{# Each symbol that a coin has had: `id`, `symbol`. #}
{% macro asset_symbols(assets, history=none) -%}
    select distinct
        id,
        symbol
    from ({{ recorded_versions(assets, history) }}) as recorded
{%- endmacro %}


{% macro recorded_versions(assets, history=none) -%}
    {%- set history = history or built_history() -%}
    {%- if history and (history.is_cte or (execute and load_relation(history) is not none)) -%}
        select
            current_versions.id,
            current_versions.symbol,
            current_versions.min_price,
            current_versions.max_price,
            current_versions.first_traded,
            coalesce(ended.last_end, timestamp '0001-01-01 00:00:00') as valid_from
        from {{ assets }} as current_versions
        left join (
            select
                id,
                cast(max(dbt_valid_to) as timestamp(6)) as last_end
            from {{ history }}
            where dbt_valid_to is not null
            group by id
        ) as ended on current_versions.id = ended.id

        union all

        select
            versions.id,
            versions.symbol,
            versions.min_price,
            versions.max_price,
            versions.first_traded,
            case
                when row_number() over (partition by versions.id order by versions.dbt_valid_from) = 1
                    then timestamp '0001-01-01 00:00:00'
                else cast(versions.dbt_valid_from as timestamp(6))
            end as valid_from
        from {{ history }} as versions
        inner join {{ assets }} as current_versions on versions.id = current_versions.id
        where versions.dbt_valid_to is not null
    {%- else -%}
        select
            id,
            symbol,
            min_price,
            max_price,
            first_traded,
            timestamp '0001-01-01 00:00:00' as valid_from
        from {{ assets }}
    {%- endif -%}
{%- endmacro %}
