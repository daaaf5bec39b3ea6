#!/usr/bin/env bash
# Submits a job to any Spark:
#   ./spark-submit.sh [--target T] [--dry-run] streaming|daily [options of spark-submit and of the job, in any order]
# T is local, standalone (MASTER=spark://…), or emr, emr-serverless, databricks, which conf/deploy.yaml (or --to FILE)
# describes: there the files are uploaded and the job is started, as `reco deploy` does. Without it MASTER alone decides.
# --dry-run, before the job's name, prints the exact command or request and does nothing.
# Options of spark-submit (--conf, --deploy-mode, --packages, ...) go to spark-submit, all others to the job; after a
# single `--` everything goes to the job. MASTER is local[*] unless set; SPARK_HOME's spark-submit is used where set, else
# the one of .venv. Delta's and Kafka's jars come from the cache folder, unless --packages names them.
# Example: ./spark-submit.sh daily --driver-memory 4g --date 2026-03-09
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "$1" >&2; exit 2; }
usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

job= jars= pyfiles= packages= memory= target= dry_run= to= mode= supervise= java= master=${MASTER:-local[*]}
spark_args=() job_args=()
while [ $# -gt 0 ]; do
  word=$1; shift
  case $word in
    --) job_args+=("$@"); break ;;
    --dry-run)
      if [ -z "$job" ]; then dry_run=1; else job_args+=("$word"); fi
      continue ;;
    --supervise) supervise=1; continue ;;
    --verbose | -v) spark_args+=("$word"); continue ;;
    --target | --to | --master | --deploy-mode | --conf | -c | --packages | --exclude-packages | --repositories | --jars | --py-files | --files \
      | --archives | --properties-file | --driver-memory | --driver-java-options | --driver-library-path | --driver-cores \
      | --driver-class-path | --executor-memory | --executor-cores | --num-executors | --total-executor-cores | --queue \
      | --principal | --keytab | --name | --proxy-user)
      [ $# -gt 0 ] || fail "$word needs a value."
      option=$word value=$1; shift ;;
    --target=* | --to=* | --master=* | --deploy-mode=* | --conf=* | --packages=* | --jars=* | --py-files=* | --files=* | --archives=* | --name=* \
      | --properties-file=* | --driver-memory=* | --executor-memory=* | --executor-cores=* | --num-executors=* | --queue=*)
      option=${word%%=*} value=${word#*=} ;;
    streaming | daily)
      if [ -z "$job" ]; then job=$word; else job_args+=("$word"); fi
      continue ;;
    -h | --help)
      if [ -z "$job" ]; then usage; exit 0; fi
      job_args+=("$word"); continue ;;
    *)
      [ -n "$job" ] || fail "spark-submit.sh knows the jobs streaming and daily, not '$word'; see ./spark-submit.sh --help."
      job_args+=("$word"); continue ;;
  esac
  case $option in
    --target) target=$value ;;
    --to) to=$value ;;
    --master) master=$value ;;
    --deploy-mode) mode=$value ;;
    --driver-java-options) java=$value ;;
    --jars) jars=$value ;;
    --py-files) pyfiles=$value ;;
    --packages) packages=1; spark_args+=("$option" "$value") ;;
    --driver-memory) memory=1; spark_args+=("$option" "$value") ;;
    *)
      case $option:$value in
        --conf:spark.driver.extraJavaOptions=* | -c:spark.driver.extraJavaOptions=*) java=${value#*=} ;;
        *) spark_args+=("$option" "$value") ;;
      esac ;;
  esac
done
[ -n "$job" ] || fail "Say which job: ./spark-submit.sh streaming|daily; see ./spark-submit.sh --help."
case $target in
  '' | local | standalone)
    [ -z "$to" ] || fail "--to is for the targets emr, emr-serverless and databricks." ;;
  emr | emr-serverless | databricks) . "$here/tools/submit-remote.sh" ;;
  *) fail "spark-submit.sh knows the targets local, standalone, emr, emr-serverless and databricks, not '$target'." ;;
esac
case $target:$master in
  local:local* | standalone:spark://*) ;;
  local:*) fail "--target local runs on this machine, and MASTER is $master: unset one of them." ;;
  standalone:*) fail "--target standalone needs the cluster's master: MASTER=spark://HOST:7077, or --master." ;;
esac

if [ -n "${SPARK_HOME:-}" ]; then
  submit=$SPARK_HOME/bin/spark-submit
  [ -x "$submit" ] || fail "SPARK_HOME=$SPARK_HOME has no bin/spark-submit: correct it, or unset it to use .venv's."
  python=${PYSPARK_PYTHON:-python3}
  [ -x "$here/.venv/bin/python" ] && python=$here/.venv/bin/python
else
  submit=$here/.venv/bin/spark-submit
  [ -x "$submit" ] || fail "There is no Spark here: run \`make setup\`, or let SPARK_HOME name one."
  python=$here/.venv/bin/python
  export PYSPARK_PYTHON=${PYSPARK_PYTHON:-$python}
fi

if [ -z "$packages" ]; then
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/reco/jars/spark
  ours=$(find "$cache" -name '*.jar' 2>/dev/null | sort | paste -sd, -) || true
  [ -n "$ours" ] || fail "Delta's and Kafka's jars are not in $cache: run \`make setup\`, or name them with --packages."
  jars=$ours${jars:+,$jars}
fi
[ -n "$memory" ] || case $master in local*) spark_args+=(--driver-memory 2g) ;; esac

zip=$("$python" -B "$here/tools/pyfiles.py")
zip=$zip${pyfiles:+,$pyfiles}
entry=$here/jobs/$job/__main__.py
command=("$submit" --master "$master" ${jars:+--jars "$jars"})
[ -z "$mode" ] || spark_args+=(--deploy-mode "$mode")
[ -z "$supervise" ] || spark_args+=(--supervise)
if [[ $master = spark://* && $mode = cluster ]]; then
  # A standalone cluster takes no Python program for its drivers, but it takes the class that runs one. The paths must
  # be the same on every worker.
  [ -n "$jars" ] || fail "On a standalone cluster --deploy-mode cluster needs --jars, beside or instead of --packages."
  # What spark-submit opens for its own driver, and a worker does not.
  for package in java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.util java.util.concurrent \
    java.util.concurrent.atomic jdk.internal.ref sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar; do
    java="--add-opens=java.base/$package=ALL-UNNAMED${java:+ $java}"
  done
  command+=(--driver-java-options "$java")
  command+=(--class org.apache.spark.deploy.PythonRunner ${spark_args[@]+"${spark_args[@]}"})
  command+=(--conf "spark.pyspark.python=${PYSPARK_PYTHON:-$python}" --conf "spark.submit.pyFiles=$zip")
  command+=("${jars%%,*}" "$entry" "$zip")
else
  [ -z "$supervise" ] || fail "--supervise needs a standalone cluster (MASTER=spark://…) and --deploy-mode cluster."
  command+=(${java:+--driver-java-options "$java"} --py-files "$zip" ${spark_args[@]+"${spark_args[@]}"} "$entry")
fi
command+=(${job_args[@]+"${job_args[@]}"})
if [ -n "$dry_run" ]; then
  printf '%q ' "${command[@]}"; echo
  exit 0
fi
exec "${command[@]}"
