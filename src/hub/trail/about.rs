//! What a run says of itself in its `start` and `about` lines; scripts say some of it with each phase.

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field;

use super::slice::Mark;
use super::text;

/// How much the kernel's clock, in whole seconds here, and the probe's can differ, ms.
pub const CLOCKS_MS: i64 = 3000;

/// What a run says of itself in its `start` and `about` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct About {
    /// `boot.id`.
    pub boot_id: Option<Box<str>>,
    /// `runner.fleet`.
    pub fleet: Option<Box<str>>,
    /// What its fleet's figures want besides; apart, since few lines have it and runs are many.
    pub member: Option<Box<OfMember>>,
    /// `interval.ms`.
    pub interval_ms: Option<i64>,
    /// `guest.cpus`.
    pub cpus: Option<i64>,
    /// When the guest booted and the run began; `None` where the beginning is not there.
    pub began: Option<Began>,
    /// `cgroup.path`.
    pub cgroup_path: Option<Box<str>>,
    /// `mem.level`.
    pub mem_level: Option<Box<str>>,
    /// `cpu.quota`, CPUs.
    pub cpu_quota: Option<Box<str>>,
    /// `runner.mem.limit`, bytes.
    pub runner_mem_limit: Option<i64>,
    /// `mem.oom.group`.
    pub is_oom_group: bool,
    /// `psi`.
    pub psi: Option<Box<str>>,
    /// `kmsg`.
    pub kmsg: Option<Box<str>>,
    /// Whether the guest can tell `cpu.throttled.pct`; `None` where no line says so.
    pub tells_throttling: Option<bool>,
    /// Whether the guest can tell `tcp.retrans`.
    pub tells_retrans: Option<bool>,
    /// Whether the guest can tell `pids.fail`.
    pub tells_refused_forks: Option<bool>,
    /// `start` was there: the beginning is not lost.
    pub has_start: bool,
}

/// Times by the guest's clock, milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Began {
    /// The guest booted.
    pub boot_ms: i64,
    /// The run began.
    pub start_ms: i64,
}

/// What a run says of its runner as one of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct OfMember {
    /// `runner.env`.
    pub env: Option<Box<str>>,
    /// `runner.image`.
    pub image: Option<Box<str>>,
    /// `runner.created.ts`, milliseconds since 1970.
    pub created_ms: Option<i64>,
}

impl About {
    /// Whether the kernel said something while the run was there, by its own clock, ms since boot; `None` where the run's
    /// beginning, which says when the guest booted, is not there. A probe that starts can find older messages in the kernel's ring.
    #[must_use]
    pub fn is_of_run(&self, kernel_ms: i64) -> Option<bool> {
        let Began { boot_ms, start_ms } = self.began?;
        Some(boot_ms.saturating_add(kernel_ms) >= start_ms.saturating_sub(CLOCKS_MS))
    }

    /// Takes a `start` line.
    pub(super) fn start(&mut self, mark: Mark, line: &Line<'_>) {
        self.about(line);
        self.has_start = true;
        self.cpus = line.scaled(field::GUEST_CPUS);
        let began = mark.at_ms().zip(line.scaled(field::UPTIME));
        self.began = began.and_then(|(at, uptime)| Some(Began { boot_ms: at.checked_sub(uptime)?, start_ms: at }));
        self.cgroup_path = text::of(line, field::CGROUP_PATH).map(Into::into);
        self.cpu_quota = text::of(line, field::CPU_QUOTA).map(Into::into);
        self.is_oom_group = line.scaled(field::MEM_OOM_GROUP) == Some(1);
    }

    /// Takes a line that says some of it: `about`, `phase`.
    pub(super) fn about(&mut self, line: &Line<'_>) {
        let told = |own: &mut Option<Box<str>>, of| {
            if let Some(told) = text::of(line, of) {
                *own = Some(told.into());
            }
        };
        told(&mut self.boot_id, field::BOOT_ID);
        told(&mut self.fleet, field::RUNNER_FLEET);
        told(&mut self.mem_level, field::MEM_LEVEL);
        told(&mut self.psi, field::PSI);
        told(&mut self.kmsg, field::KMSG);
        self.interval_ms = line.scaled(field::INTERVAL).or(self.interval_ms);
        self.runner_mem_limit = line.scaled(field::RUNNER_MEM_LIMIT).or(self.runner_mem_limit);
        if [field::RUNNER_ENV, field::RUNNER_IMAGE, field::RUNNER_CREATED]
            .iter()
            .any(|field| line.text(field).is_some())
        {
            let member = self.member.get_or_insert_default();
            told(&mut member.env, field::RUNNER_ENV);
            told(&mut member.image, field::RUNNER_IMAGE);
            member.created_ms = line.text(field::RUNNER_CREATED).and_then(created_ms).or(member.created_ms);
        }
        if let Some(supports) = line.text(field::SUPPORTS) {
            let supports = |of: &field::Field| supports.split(',').any(|key| key == of.key);
            self.tells_throttling = Some(supports(field::CPU_THROTTLED));
            self.tells_retrans = Some(supports(field::TCP_RETRANS));
            self.tells_refused_forks = Some(supports(field::PIDS_FAIL));
        }
    }

    /// Takes what another source had of the same run.
    pub(super) fn fold(&mut self, other: &Self) {
        let (own, other) = if self.has_start { (&*self, other) } else { (other, &*self) };
        let own = own.clone();
        *self = Self {
            boot_id: own.boot_id.or(other.boot_id.clone()),
            fleet: own.fleet.or(other.fleet.clone()),
            member: folded(own.member, other.member.as_deref()),
            interval_ms: own.interval_ms.or(other.interval_ms),
            cpus: own.cpus.or(other.cpus),
            began: own.began.or(other.began),
            cgroup_path: own.cgroup_path.or(other.cgroup_path.clone()),
            mem_level: own.mem_level.or(other.mem_level.clone()),
            cpu_quota: own.cpu_quota.or(other.cpu_quota.clone()),
            runner_mem_limit: own.runner_mem_limit.or(other.runner_mem_limit),
            is_oom_group: own.is_oom_group || other.is_oom_group,
            psi: own.psi.or(other.psi.clone()),
            kmsg: own.kmsg.or(other.kmsg.clone()),
            tells_throttling: own.tells_throttling.or(other.tells_throttling),
            tells_retrans: own.tells_retrans.or(other.tells_retrans),
            tells_refused_forks: own.tells_refused_forks.or(other.tells_refused_forks),
            has_start: own.has_start || other.has_start,
        };
    }
}

fn folded(own: Option<Box<OfMember>>, other: Option<&OfMember>) -> Option<Box<OfMember>> {
    let (Some(own), Some(other)) = (&own, other) else { return own.or_else(|| other.cloned().map(Box::new)) };
    Some(Box::new(OfMember {
        env: own.env.clone().or(other.env.clone()),
        image: own.image.clone().or(other.image.clone()),
        created_ms: own.created_ms.or(other.created_ms),
    }))
}

fn created_ms(text: &str) -> Option<i64> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
