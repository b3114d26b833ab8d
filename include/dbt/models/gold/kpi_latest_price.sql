-- Dashboard tile: the latest price of each coin, and its KPIs up to that price (macros/kpi.sql).
{{ config(materialized='view') }}

{{ latest_price_kpis(ref('crypto_curated')) }}
