//! What `statvfs(3)` says of the watched paths. The call itself is made in [`crate::probe::slow`]: it can hang.

/// Room of one file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// KiB that the unprivileged can still write.
    pub avail_kb: u64,
    /// Used, of used and available to the unprivileged, in tenths of a per cent.
    pub used_pct_x10: u64,
    /// The same over inodes; `None` where the file system counts none.
    pub inode_used_pct_x10: Option<u64>,
    /// Whether it is mounted read-only.
    pub is_read_only: bool,
}

/// Counts as `statvfs` gives them, in fragments and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Size of a fragment in bytes.
    pub fragment_bytes: u64,
    /// All, free, and free to the unprivileged.
    pub blocks: [u64; 3],
    /// The same for inodes.
    pub inodes: [u64; 3],
    /// Whether it is mounted read-only.
    pub is_read_only: bool,
}

/// The room that these counts mean; `None` for a file system without blocks (proc, sysfs).
#[must_use]
pub fn room(counts: Counts) -> Option<Room> {
    let [_, _, available] = counts.blocks;
    Some(Room {
        avail_kb: available.saturating_mul(counts.fragment_bytes) / 1024,
        used_pct_x10: used_pct_x10(counts.blocks)?,
        inode_used_pct_x10: used_pct_x10(counts.inodes),
        is_read_only: counts.is_read_only,
    })
}

fn used_pct_x10([all, free, available]: [u64; 3]) -> Option<u64> {
    let used = all.checked_sub(free).filter(|_| all > 0)?;
    match used.saturating_add(available) {
        0 => None,
        // Rounded up, as df does: the last per mille is not to look free.
        of => used.checked_mul(1000).map(|used| used.div_ceil(of)),
    }
}

/// The fullest of all, and how full the fullest is in inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fullest {
    /// Which of the watched paths, and its room.
    pub disk: Option<(usize, Room)>,
    /// Which of them has the most used inodes, in tenths of a per cent.
    pub inode: Option<(usize, u64)>,
}

/// Picks the fullest. The one picked before stays until another is a point fuller, so that the path does not flutter.
#[must_use]
pub fn fullest(rooms: &[Option<Room>], before: Option<usize>) -> Fullest {
    let known = || rooms.iter().enumerate().filter_map(|(at, room)| room.map(|room| (at, room)));
    // Of equals the first.
    let top = known().reduce(|top, next| if next.1.used_pct_x10 > top.1.used_pct_x10 { next } else { top });
    let kept = known().find(|(at, _)| Some(*at) == before);
    let disk = match (top, kept) {
        (Some((_, top_room)), Some((at, room))) if top_room.used_pct_x10 < room.used_pct_x10 + 10 => Some((at, room)),
        (top, _) => top,
    };
    let inodes = known().filter_map(|(at, room)| Some((at, room.inode_used_pct_x10?)));
    Fullest { disk, inode: inodes.reduce(|top, next| if next.1 > top.1 { next } else { top }) }
}

/// How full a path has to be to be told, in tenths of a per cent.
const MARKS_PCT_X10: [u64; 3] = [900, 950, 990];

/// So much emptier than a mark it has to become to cross it again, so that one around a mark is not told all the time.
const BELOW_MARK_PCT_X10: u64 = 10;

/// What was told of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The mark that it is over, or was until lately.
    mark_pct_x10: u64,
    /// Whether it was read-only; `None` before the first look.
    was_read_only: Option<bool>,
}

impl Standing {
    /// Where it stands with this room, and whether that is news: it crossed a mark upwards, or went read-only.
    #[must_use]
    pub fn with(self, room: Room) -> (Self, bool) {
        let used = room.used_pct_x10.max(room.inode_used_pct_x10.unwrap_or(0));
        let mark_of = |used: u64| MARKS_PCT_X10.iter().copied().rfind(|mark| used >= *mark).unwrap_or(0);
        let now = mark_of(used);
        let kept = self.mark_pct_x10.min(mark_of(used + BELOW_MARK_PCT_X10));
        let went_read_only = self.was_read_only == Some(false) && room.is_read_only;
        let next = Self { mark_pct_x10: now.max(kept), was_read_only: Some(room.is_read_only) };
        (next, now > self.mark_pct_x10 || went_read_only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_of_what_can_be_used() {
        // ext4 keeps 5 % for root: 100 blocks, 10 free, 5 of them available: 90 of 95.
        let counts = Counts { fragment_bytes: 4096, blocks: [100, 10, 5], inodes: [10, 5, 5], ..Counts::default() };
        let room = room(counts).unwrap();
        assert_eq!((room.avail_kb, room.used_pct_x10, room.inode_used_pct_x10), (20, 948, Some(500)));
    }

    #[test]
    fn a_file_system_without_counts_is_absent() {
        assert_eq!(room(Counts { blocks: [0, 0, 0], ..Counts::default() }), None);
        assert_eq!(room(Counts { blocks: [1, 2, 0], ..Counts::default() }), None);
        let counts = Counts { fragment_bytes: 1, blocks: [1, 1, 1], inodes: [0, 0, 0], ..Counts::default() };
        assert_eq!(room(counts).unwrap().inode_used_pct_x10, None);
    }

    #[test]
    fn a_mark_is_told_when_it_is_crossed_and_not_while_it_is_brushed() {
        let mut standing = Standing::default();
        for (used, is_news) in [
            (500, false),
            (899, false),
            (900, true),
            (949, false),
            (991, true),
            (985, false),
            (990, false),
            (900, false),
            (950, true),
            (100, false),
            (999, true),
        ] {
            let (next, told) = standing.with(Room { used_pct_x10: used, ..Room::default() });
            assert_eq!(told, is_news, "{used}");
            standing = next;
        }
        let inodes = Room { inode_used_pct_x10: Some(960), ..Room::default() };
        assert!(Standing::default().with(inodes).1);
    }

    #[test]
    fn only_what_was_writable_goes_read_only() {
        let room = |is_read_only| Room { is_read_only, ..Room::default() };
        let (standing, told) = Standing::default().with(room(true));
        assert!(!told, "an image's root is so from the start");
        let (standing, told) = standing.with(room(false));
        assert!(!told);
        let (standing, told) = standing.with(room(true));
        assert!(told && !standing.with(room(true)).1);
    }

    fn rooms(used: &[Option<u64>]) -> Vec<Option<Room>> {
        used.iter().map(|used| used.map(|used_pct_x10| Room { used_pct_x10, ..Room::default() })).collect()
    }

    #[test]
    fn inodes_have_a_path_of_their_own() {
        let room = |inode_used_pct_x10| Some(Room { inode_used_pct_x10, ..Room::default() });
        assert_eq!(fullest(&[room(None), room(Some(5)), room(Some(9)), room(Some(9))], None).inode, Some((2, 9)));
        assert_eq!(fullest(&[room(None)], None).inode, None);
    }

    #[test]
    fn another_path_takes_over_when_it_is_a_point_fuller() {
        let picked = |used: &[Option<u64>], before| fullest(&rooms(used), before).disk.map(|(at, _)| at);
        assert_eq!(picked(&[Some(500), Some(500)], None), Some(0));
        assert_eq!(picked(&[Some(500), Some(509)], Some(0)), Some(0));
        assert_eq!(picked(&[Some(500), Some(510)], Some(0)), Some(1));
        assert_eq!(picked(&[None, Some(10)], Some(0)), Some(1));
        assert_eq!(picked(&[None, None], Some(0)), None);
    }
}
