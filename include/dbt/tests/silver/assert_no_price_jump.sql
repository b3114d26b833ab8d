-- Finds prices that move from one quote to the next by more than price_jump_deviations (a variable) standard deviations
-- of all moves: often they are errors. A symbol with fewer than a hundred moves is not checked.
{{ config(severity='warn') }}

with

quotes as (

    select * from {{ ref('crypto_stage') }}
    where loaded_at >= {{ test_window_start() }}

),

moves as (

    select
        id,
        symbol,
        last_updated,
        price,
        lag(price) over (partition by id order by last_updated) as previous_price
    from quotes

),

relative_moves as (

    select
        *,
        cast(price as double) / cast(previous_price as double) - 1 as move
    from moves
    where previous_price > 0

),

usual_moves as (

    select
        id,
        avg(move) as mean,
        stddev_samp(move) as deviation
    from relative_moves
    group by id
    having count(*) >= 100

)

select
    relative_moves.symbol,
    relative_moves.last_updated,
    relative_moves.price,
    relative_moves.previous_price,
    abs(relative_moves.move - usual_moves.mean) / usual_moves.deviation as deviations
from relative_moves
inner join usual_moves on relative_moves.id = usual_moves.id
where
    usual_moves.deviation > 0
    and abs(relative_moves.move - usual_moves.mean) > {{ var('price_jump_deviations') }} * usual_moves.deviation
