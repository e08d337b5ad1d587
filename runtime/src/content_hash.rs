//! A 64-bit hash of bytes against damage and mix-ups, not against malice.
//!
//! Four lanes of rotate, xor and multiply by an odd number, 32 bytes at a time. Each step is a bijection of its lane, so
//! a change of one word never goes unseen, and the lanes do not wait for one another: several bytes a cycle.

/// Odd, with about half its bits set: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash of what has been taken so far.
#[derive(Clone, Debug)]
pub struct ContentHash {
    lanes: [u64; 4],
    /// What does not fill a group of four words yet.
    rest: [u8; 32],
    length: u64,
}

impl Default for ContentHash {
    fn default() -> Self {
        Self { lanes: [1, 2, 3, 4], rest: [0; 32], length: 0 }
    }
}

impl ContentHash {
    /// Takes the next bytes; how they are cut does not matter.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let held = (self.length % 32) as usize;
        self.length += bytes.len() as u64;
        if held > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(32 - held));
            self.rest[held..held + head.len()].copy_from_slice(head);
            if held + head.len() < 32 {
                return;
            }
            let rest = self.rest;
            self.groups(&rest);
            bytes = tail;
        }
        let (groups, tail) = bytes.split_at(bytes.len() / 32 * 32);
        self.groups(groups);
        self.rest[..tail.len()].copy_from_slice(tail);
    }

    /// Takes whole groups. The lanes are four variables, so that they stay in registers at every opt-level.
    fn groups(&mut self, bytes: &[u8]) {
        let [mut a, mut b, mut c, mut d] = self.lanes;
        let (words, _) = bytes.as_chunks::<8>();
        for group in words.as_chunks::<4>().0 {
            a = mix(a, group[0]);
            b = mix(b, group[1]);
            c = mix(c, group[2]);
            d = mix(d, group[3]);
        }
        self.lanes = [a, b, c, d];
    }

    /// The hash of all bytes taken.
    pub fn finish(&self) -> u64 {
        let mut end = self.clone();
        let held = (end.length % 32) as usize;
        if held > 0 {
            end.rest[held..].fill(0);
            end.groups(&end.rest.clone());
        }
        let mut hash = end.length;
        for lane in end.lanes {
            // The finalizer of SplitMix64, so that every bit of a lane reaches every bit of the hash.
            hash ^= lane;
            hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            hash ^= hash >> 31;
        }
        hash
    }
}

/// One step of a lane, by a little-endian word.
#[inline]
fn mix(lane: u64, word: [u8; 8]) -> u64 {
    (lane.rotate_left(27) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_hash_does_not_depend_on_pieces() {
        let bytes: Vec<u8> = (0..203_u32).map(|i| (i * i / 8) as u8).collect();
        let mut whole = ContentHash::default();
        whole.update(&bytes);
        for piece in [1, 7, 32, 33, 64] {
            let mut pieces = ContentHash::default();
            bytes.chunks(piece).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), whole.finish());
        }
    }
}
