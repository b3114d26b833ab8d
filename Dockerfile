# The Airflow image. The base image's ONBUILD steps install packages.txt and requirements.txt and copy the project. The
# image runs as the unprivileged user `astro`. Python 3.12, because the runtime's default (3.14) is too new for dbt-core
# 1.11.
FROM astrocrpublic.azurecr.io/runtime:3.3-8-python-3.12

ENV AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DO_NOT_TRACK=1

# Cosmos renders the DAG from the manifest, so that no DAG parse must run dbt. Profile and target have the same names as
# in every task (include/transform/dbt_connection.py): otherwise dbt could not use the partial parse that is written too.
RUN WAREHOUSE_TARGET=athena dbt --quiet parse --warn-error \
    --project-dir include/dbt --profiles-dir include/dbt --profile crypto_lakehouse --target athena
