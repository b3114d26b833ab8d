# The Airflow image. The base image's ONBUILD steps copy and install packages.txt and requirements.txt
# and copy the project; it runs as the unprivileged user `astro`.
# Python 3.12, as the runtime's default (3.14) is too new for dbt-core 1.11.
FROM astrocrpublic.azurecr.io/runtime:3.3-8-python-3.12

ENV AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DO_NOT_TRACK=1

# Cosmos renders the DAG from the manifest, so that no DAG parse has to run dbt. Profile and target are named as in
# every task (include/transform/dbt_connection.py), or dbt could not use the parse that this leaves beside it.
RUN WAREHOUSE_TARGET=athena dbt --quiet parse --warn-error \
    --project-dir include/dbt --profiles-dir include/dbt --profile crypto_lakehouse --target athena
