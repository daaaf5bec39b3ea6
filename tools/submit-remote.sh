# Sourced by spark-submit.sh for a target that has an interface of its own: hands the words on to `reco deploy`.
python=$here/.venv/bin/python
[ -x "$python" ] || fail "There is no Python environment here: run \`make setup\`."
[ -z "$to" ] || to=$(realpath -- "$to")
deploy=(deploy "$target" "$job" ${dry_run:+--request} ${to:+--to "$to"})
[ -z "$mode" ] || fail "--deploy-mode is chosen by the target $target: leave it out."
[ -z "$supervise" ] || fail "--supervise is for a standalone cluster; $target starts a job again by itself (docs/deploy.md)."
[ -z "$jars$pyfiles" ] || fail "Name jars for the target $target in conf/deploy.yaml (jars:), not with --jars or --py-files."
[ -z "$java" ] || spark_args+=(--conf "spark.driver.extraJavaOptions=$java")
for word in ${spark_args[@]+"${spark_args[@]}"}; do deploy+=("--spark=$word"); done
own=()
while [ ${#job_args[@]} -gt 0 ]; do
  word=${job_args[0]} job_args=("${job_args[@]:1}")
  case $word in
    --settings)
      [ ${#job_args[@]} -gt 0 ] || fail "--settings needs a value."
      deploy+=(--settings "${job_args[0]}") job_args=("${job_args[@]:1}") ;;
    --settings=*) deploy+=("$word") ;;
    *) own+=("$word") ;;
  esac
done
cd "$here"
exec "$python" -m jobs.cli.main "${deploy[@]}" -- ${own[@]+"${own[@]}"}
