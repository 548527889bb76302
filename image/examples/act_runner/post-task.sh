#!/bin/sh
# runner.post_task_script of act_runner: once after each task. GITEA_JOB_RESULT is success, failure, cancelled, skipped or unknown.
case ${GITEA_JOB_RESULT-} in
success | failure | cancelled | skipped) set -- --job-result "$GITEA_JOB_RESULT" ;;
*) set -- ;;
esac
exec /opt/runner-vitals/tell-phase.sh ended ${GITEA_TASK_ID:+--job-nr "$GITEA_TASK_ID"} "$@"
