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
}

/// The room that these counts mean; `None` for a file system without blocks (proc, sysfs).
#[must_use]
pub fn room(counts: Counts) -> Option<Room> {
    let [_, _, available] = counts.blocks;
    Some(Room {
        avail_kb: available.saturating_mul(counts.fragment_bytes) / 1024,
        used_pct_x10: used_pct_x10(counts.blocks)?,
        inode_used_pct_x10: used_pct_x10(counts.inodes),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_of_what_can_be_used() {
        // ext4 keeps 5 % for root: 100 blocks, 10 free, 5 of them available: 90 of 95.
        let counts = Counts { fragment_bytes: 4096, blocks: [100, 10, 5], inodes: [10, 5, 5] };
        let room = room(counts).unwrap();
        assert_eq!((room.avail_kb, room.used_pct_x10, room.inode_used_pct_x10), (20, 948, Some(500)));
    }

    #[test]
    fn a_file_system_without_counts_is_absent() {
        assert_eq!(room(Counts { blocks: [0, 0, 0], ..Counts::default() }), None);
        assert_eq!(room(Counts { blocks: [1, 2, 0], ..Counts::default() }), None);
        let counts = Counts { fragment_bytes: 1, blocks: [1, 1, 1], inodes: [0, 0, 0] };
        assert_eq!(room(counts).unwrap().inode_used_pct_x10, None);
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
