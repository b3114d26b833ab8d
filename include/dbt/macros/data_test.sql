{#-
    How a data test runs: dbt's own materialization of this name, but failing rows are written only when there are
    some. dbt writes a table for each test on each run, before it counts: three statements a passing test, where one
    will do (on Athena each costs seconds and S3 requests). A table left by an earlier failure goes when the test
    passes, so the tables of schema `<database>_test_failures` are those of the tests that fail now.
-#}
{% materialization test, default %}
    {%- set failing_rows -%}
        {{ get_limit_subquery_sql(sql, config.get('limit')) }}
    {%- endset -%}
    {#- no transaction around a query that only counts: on DuckDB, BEGIN and COMMIT cost dbt as much as the query -#}
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
