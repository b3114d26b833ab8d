-- Finds prices that move from one quote to the next by more than price_jump_deviations (a variable) standard deviations
-- of all moves: often they are errors. A coin with fewer than a hundred moves is not checked.
--
-- A price that nobody quotes for n usual intervals may move sqrt(n) times as far, as a random walk does. So a move after
-- a pause is divided by sqrt(n) before it is compared. A move within less than the usual interval is taken as it is.
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
        lag(price) over (partition by id order by last_updated) as previous_price,
        lag(last_updated) over (partition by id order by last_updated) as previous_quote_at
    from quotes

),

relative_moves as (

    select
        *,
        cast(price as double) / cast(previous_price as double) - 1 as move,
        {{ seconds_between('previous_quote_at', 'last_updated') }} as seconds
    from moves
    where previous_price > 0

),

usual_intervals as (

    select
        id,
        {{ median('seconds') }} as usual_seconds
    from relative_moves
    group by id
    having count(*) >= 100

),

scaled_moves as (

    select
        relative_moves.*,
        relative_moves.move / sqrt(greatest(relative_moves.seconds / usual_intervals.usual_seconds, 1)) as scaled_move
    from relative_moves
    inner join usual_intervals on relative_moves.id = usual_intervals.id

),

usual_moves as (

    select
        id,
        avg(scaled_move) as mean,
        stddev_samp(scaled_move) as deviation
    from scaled_moves
    group by id

)

select
    scaled_moves.symbol,
    scaled_moves.last_updated,
    scaled_moves.price,
    scaled_moves.previous_price,
    scaled_moves.seconds,
    abs(scaled_moves.scaled_move - usual_moves.mean) / usual_moves.deviation as deviations
from scaled_moves
inner join usual_moves on scaled_moves.id = usual_moves.id
where
    usual_moves.deviation > 0
    and abs(scaled_moves.scaled_move - usual_moves.mean) > {{ var('price_jump_deviations') }} * usual_moves.deviation
