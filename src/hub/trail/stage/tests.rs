//! Stages in any order, and many of them.

use super::*;

fn take(stages: &mut Stages, at_s: u64, rest: &str) {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at_s);
    let run = crate::line::RunId::from_random(at_s);
    let text = format!(
        "RUNNER_VITALS ts={} run={} seq=1 event=phase {rest}",
        humantime::format_rfc3339_millis(at),
        run.as_str()
    );
    stages.take(&Line::decode(&text).unwrap(), i64::try_from(at_s * 1000).ok());
}

#[test]
fn a_ready_that_is_told_again_is_one_in_any_order() {
    let told = [
        (100, "phase=ready boot.id=a uptime.ms=20000"),
        (160, "phase=ready boot.id=a uptime.ms=80000 waited.ms=60000 waited.from=ready"),
        (220, "phase=ready boot.id=a uptime.ms=140500 waited.ms=120000 waited.from=ready"),
        (230, "phase=claimed boot.id=a uptime.ms=150000 waited.ms=700 waited.from=queued job.nr=1"),
    ];
    let sorted = |order: [usize; 5]| {
        let mut stages = Stages::default();
        for at in order {
            take(&mut stages, told[at].0, told[at].1);
        }
        stages.sorted()
    };
    let in_order = sorted([0, 1, 2, 3, 3]);
    assert_eq!(in_order.len(), 2);
    let ready = in_order[0];
    assert_eq!((ready.at_ms, ready.uptime_ms), (Some(100_000), Some(20_000)));
    assert_eq!((ready.heard_ms, ready.beat_ms), (Some(220_000), Some(60_000)));
    assert_eq!(in_order[1].waited, Some(Waited::Queued(700)));
    for order in [[3, 2, 1, 0, 3], [1, 3, 0, 2, 1], [2, 0, 3, 3, 1]] {
        assert_eq!(sorted(order), in_order, "{order:?}");
    }
}

#[test]
fn polls_are_the_latest_of_each_boot() {
    let mut stages = Stages::default();
    take(&mut stages, 3, "phase=ended boot.id=a poll.served=2 poll.no_work=9 poll.sum.ms=900 poll.max.ms=70");
    take(&mut stages, 1, "phase=ready boot.id=a poll.served=1 poll.sum.ms=100 poll.max.ms=60");
    take(&mut stages, 5, "phase=ready boot.id=b poll.error=1 poll.sum.ms=10 poll.max.ms=90");
    let polls = stages.polls();
    assert_eq!((polls.counts, polls.sum_ms, polls.max_ms), ([2, 9, 0, 0, 0, 0, 1], 910, 90));
}

#[test]
fn the_latest_stages_are_kept_and_what_is_given_up_is_counted() {
    let mut stages = Stages::default();
    for at in 0..20_000_u64 {
        take(&mut stages, at, &format!("phase=claimed job.nr={}", at + 1));
    }
    let sorted = stages.sorted();
    assert!(stages.all.capacity() <= 2 * (STAGES + SLACK) && size_of::<Stage>() <= 128);
    assert_eq!(sorted.len() as u64 + stages.given_up, 20_000);
    assert_eq!(sorted.last().and_then(|stage| stage.at_ms), Some(19_999_000));
}
