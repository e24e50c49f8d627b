# The image with Open MPI and an SSH server, for mpijob.yaml:
#   docker build -t split-suite-mpi -f examples/clusters/mpi.Dockerfile .
ARG IMAGE=split-suite:latest
FROM ${IMAGE}
USER root
# The operator mounts the job's keys at /home/suite/.ssh; both sides belong to the user suite, whose
# home others may write to. 2222, because a user may not listen below 1024 everywhere.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      openmpi-bin openssh-client openssh-server \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
 && mkdir -p /run/sshd \
 && printf '%s\n' "Port 2222" "StrictHostKeyChecking no" "UserKnownHostsFile /dev/null" \
      "LogLevel ERROR" > /etc/ssh/ssh_config.d/split-suite.conf \
 && printf '%s\n' "Port 2222" "PidFile /tmp/sshd.pid" "HostKey /home/suite/.ssh/id_rsa" \
      "StrictModes no" > /home/suite/.sshd_config
USER suite
