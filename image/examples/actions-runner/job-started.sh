#!/bin/bash
# ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/runner-vitals/job-started.sh in the runner's environment, or its .env file. A hook that fails fails the job.
/opt/runner-vitals/tell-phase.sh claimed
exit 0
