//! In how much room a run is kept, and in any order.

use std::mem::size_of;

use super::super::about::OfMember;
use super::super::book::Book;
use super::super::slice::Place;
use super::recent::SLICES;
use super::*;

/// 4 KiB, and of the 64 MiB that all may use besides the part of one in a hundred thousand.
const BOUND: usize = (4 << 10) + (64 << 20) / 100_000;

/// What a run holds.
fn bytes(life: &Life) -> usize {
    // What stands between quotes.
    let texts = |all: String| all.split('"').skip(1).step_by(2).map(str::len).sum::<usize>();
    let slices = life.recent.capacity() + usize::from(life.whole.is_some()) + usize::from(life.last_sample.is_some());
    size_of::<Life>()
        + slices * size_of::<Slice>()
        + life.happenings.capacity() * size_of::<Happening>()
        + life
            .about
            .as_ref()
            .map_or(0, |about| size_of::<About>() + about.member.as_ref().map_or(0, |_| size_of::<OfMember>()))
        + texts(format!("{:?} {:?}", life.about, life.happenings))
}

/// With some of everything that is ever kept; who dies of one thing has a third of the events.
#[test]
fn a_run_of_any_length_is_kept_in_bounded_room() {
    let mut book = Book::default();
    let mut seq = 0;
    let mut take = |rest: &str| {
        seq += 1;
        let at = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seq));
        let line = format!("RUNNER_VITALS ts={at} run=k3x9 seq={seq} {rest}");
        book.take(line.as_bytes(), Default::default(), Place::default());
    };
    take(
        "event=start boot.id=fde637d9-fe92-4fa8-a3de-c055e757ace2 interval.ms=1000 cgroup.path=/kubepods/burstable/pod1/x",
    );
    for _ in 0..200 {
        take("vm.mem.avail.kb=1 cpu.busy.pct=1.0");
        for event in [
            "kmsg.oom victim.comm=node cgroup=/kubepods/pod1",
            "oom source=own delta=1",
            "oom source=tree delta=1",
            "oom source=vm delta=1",
            "top rank=1 comm=x rss.kb=1",
        ] {
            take(&format!("event={event}"));
        }
        for event in
            ["agent role=agent state=waited", "agent state=vanished", "pressure resource=cpu kind=psi", "disk path=/"]
        {
            take(&format!("event={event}"));
        }
        for event in [
            "kmsg.io dev=vda msg=x",
            "kmsg.segv msg=x",
            "kmsg.panic msg=x",
            "kmsg.balloon msg=x",
            "gap kind=unknown ms=1",
            "degraded what=sink.http error=y",
            "stop reason=sigterm",
            "phase phase=ended",
        ] {
            take(&format!("event={event}"));
        }
    }
    let (runners, _) = book.into_runners();
    let life = &runners[0].runs[0].1;
    assert_eq!((life.recent.len(), life.happenings.len(), life.lines), (SLICES, 27, 3601));
    assert!(
        bytes(life) <= BOUND,
        "{} bytes: {} a slice, {} a happening",
        bytes(life),
        size_of::<Slice>(),
        size_of::<Happening>()
    );
}

/// Every text of every line is as long as a line can be: 10 KiB a run, so that 10,000 of them keep to 4 KiB each and 64 MiB.
#[test]
fn no_text_of_a_line_is_kept_longer_than_its_field_allows() {
    let mut book = Book::default();
    let mut seq = 0;
    let mut take = |rest: &str| {
        seq += 1;
        let line = format!("RUNNER_VITALS ts= run=k3x9 seq={seq} {rest} runner.name=r");
        book.take(line.as_bytes(), Default::default(), Place::default());
    };
    let long = "x".repeat(3800);
    for of in ["boot.id", "runner.fleet", "mem.level", "psi", "kmsg", "cgroup.path", "cpu.quota"] {
        take(&format!("event=start {of}={long}"));
    }
    for event in [
        "kmsg.oom victim.comm=node cgroup=",
        "kmsg.oom cgroup=/x victim.comm=",
        "top rank=1 rss.kb=1 comm=",
        "agent state=vanished comm=",
        "agent state=waited comm=",
        "pressure kind=psi resource=",
        "pressure resource=cpu kind=",
        "disk path=",
        "gap ms=1 kind=",
        "kmsg.io msg=x dev=",
        "kmsg.segv comm=x msg=",
        "kmsg.panic msg=",
        "kmsg.balloon msg=",
        "degraded what=sink.http error=",
        "degraded error=x what=sink.",
        "stop reason=",
        "phase phase=",
    ] {
        for _ in 0..3 {
            take(&format!("event={event}{long}"));
        }
    }
    assert_eq!(book.counts.broken, 0);
    let (runners, _) = book.into_runners();
    let life = &runners[0].runs[0].1;
    assert!(bytes(life) <= 10 << 10, "{} bytes", bytes(life));
}

/// A sample that does not have a count says nothing of it.
#[test]
fn when_a_count_moved_is_told_by_samples_that_have_it_in_any_order() {
    let samples = [(1, "0"), (2, "0"), (3, ""), (4, ""), (5, "1"), (6, ""), (7, "")];
    let take = |book: &mut Book, source: u32, of: &[(u64, &str)]| {
        for (seq, count) in of {
            let line = format!("RUNNER_VITALS ts=2026-06-04T12:00:0{seq}.000Z run=k3x9 seq={seq} oom_kill={count}");
            book.take(line.as_bytes(), Default::default(), Place { source, line: 0 });
        }
    };
    let moved = |book: Book| {
        let (_, life) = book.into_runners().0.remove(0).runs.remove(0);
        let moved = life.kills[0].unwrap();
        (life.lines, moved.to.seq, moved.from.map(|from| from.seq))
    };
    for order in [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [4, 3, 5, 0, 6, 2, 1], [1, 6, 4, 0, 2, 5, 3]] {
        let shuffled = order.map(|at| samples[at]);
        let mut book = Book::default();
        take(&mut book, 0, &shuffled);
        assert_eq!(moved(book), (7, 5, Some(2)), "{order:?}");
        // The same from two files.
        let mut book = Book::default();
        take(&mut book, 0, &shuffled[..3]);
        take(&mut book, 1, &shuffled[3..]);
        assert_eq!(moved(book), (7, 5, Some(2)), "{order:?} in two");
    }
}

#[test]
fn a_name_is_kept_as_long_as_one_can_be() {
    let mut book = Book::default();
    let long = "x".repeat(3800);
    assert_eq!(book.origin(Some(&long)), Default::default(), "no Pod is called so");
    assert_ne!(book.origin(Some(&"x".repeat(253))), Default::default());
    book.take(
        format!("RUNNER_VITALS ts= run=k3x9 seq=1 load1=0.10 runner.name={long}").as_bytes(),
        Default::default(),
        Place::default(),
    );
    book.take(
        format!("RUNNER_VITALS ts= run=k3x9 seq=2 event=about runner.name={long}").as_bytes(),
        Default::default(),
        Place::default(),
    );
    assert_eq!(book.counts.broken, 0, "{:?}", book.broken);
    let (runners, _) = book.into_runners();
    assert_eq!((runners.len(), runners[0].name.len()), (1, 253));
    assert_eq!((runners[0].runs[0].1.lines, runners[0].runs.len()), (2, 1), "{:?}", runners[0].runs);
}
