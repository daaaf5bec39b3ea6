#!/usr/bin/env bash
# Submits a job to any Spark:
#   ./spark-submit.sh [--dry-run] streaming|daily [options of spark-submit and of the job, in any order]
# Options of spark-submit (--conf, --deploy-mode, --packages, ...) go to spark-submit, all others to the job; after a
# single `--` everything goes to the job. MASTER is local[*] unless set; SPARK_HOME's spark-submit is used where set, else
# the one of .venv. Delta's and Kafka's jars come from the cache folder, unless --packages names them.
# Example: ./spark-submit.sh daily --driver-memory 4g --date 2026-03-09
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "$1" >&2; exit 2; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

dry_run=
if [ "${1:-}" = --dry-run ]; then dry_run=1; shift; fi

job= jars= pyfiles= packages= memory= master=${MASTER:-local[*]}
spark_args=() job_args=()
while [ $# -gt 0 ]; do
  word=$1; shift
  case $word in
    --) job_args+=("$@"); break ;;
    --supervise | --verbose | -v) spark_args+=("$word"); continue ;;
    --master | --deploy-mode | --conf | -c | --packages | --exclude-packages | --repositories | --jars | --py-files | --files \
      | --archives | --properties-file | --driver-memory | --driver-java-options | --driver-library-path | --driver-cores \
      | --driver-class-path | --executor-memory | --executor-cores | --num-executors | --total-executor-cores | --queue \
      | --principal | --keytab | --name | --proxy-user)
      [ $# -gt 0 ] || fail "$word needs a value."
      option=$word value=$1; shift ;;
    --master=* | --deploy-mode=* | --conf=* | --packages=* | --jars=* | --py-files=* | --files=* | --archives=* | --name=* \
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
    --master) master=$value ;;
    --jars) jars=$value ;;
    --py-files) pyfiles=$value ;;
    --packages) packages=1; spark_args+=("$option" "$value") ;;
    --driver-memory) memory=1; spark_args+=("$option" "$value") ;;
    *) spark_args+=("$option" "$value") ;;
  esac
done
[ -n "$job" ] || fail "Say which job: ./spark-submit.sh streaming|daily; see ./spark-submit.sh --help."

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
command=("$submit" --master "$master" ${jars:+--jars "$jars"} --py-files "$zip${pyfiles:+,$pyfiles}")
command+=(${spark_args[@]+"${spark_args[@]}"} "$here/jobs/$job/__main__.py" ${job_args[@]+"${job_args[@]}"})
if [ -n "$dry_run" ]; then
  printf '%q ' "${command[@]}"; echo
  exit 0
fi
exec "${command[@]}"
