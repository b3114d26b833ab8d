{#-
    Runs a data test. Unlike dbt's own materialization of this name, it writes failing rows only when there are some.

    dbt writes a table for each test on each run before it counts. That makes three statements for a passing test, where
    one is enough; on Athena each costs seconds and S3 requests. When a test passes, the table of an earlier failure is
    dropped. The schema `<database>_test_failures` therefore has only the tables of tests that fail now.
-#}
{% materialization test, default %}
    {%- set failing_rows -%}
        {{ get_limit_subquery_sql(sql, config.get('limit')) }}
    {%- endset -%}
    {#- No transaction around a query that only counts: on DuckDB, BEGIN and COMMIT cost dbt as much as the query. -#}
    {%- call statement('main', fetch_result=True, auto_begin=False) -%}
        {{ get_test_sql(
            failing_rows, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none
        ) }}
    {%- endcall -%}
    {%- set relations = [] -%}
    {%- if should_store_failures() -%}
        {%- set left_over = adapter.get_relation(database=database, schema=schema, identifier=model['alias']) -%}
        {%- if left_over -%}
            {%- do adapter.drop_relation(left_over) -%}
        {%- endif -%}
        {%- if load_result('main')['data'][0][0] -%}
            {%- set table = api.Relation.create(
                identifier=model['alias'], schema=schema, database=database, type='table'
            ) -%}
            {%- call statement(auto_begin=True) -%}
                {{ get_create_sql(table, failing_rows) }}
            {%- endcall -%}
            {{ adapter.commit() }}
            {%- do relations.append(table) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return({'relations': relations}) }}
{% endmaterialization %}
