//! A bit for each record of the index.

/// So many bits, all clear at first.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn new(len: u64) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize] }
    }

    /// Sets a bit; whether it was clear. One past the end is never clear.
    pub(super) fn set(&mut self, at: u64) -> bool {
        let Some(word) = self.words.get_mut((at / 64) as usize) else { return false };
        let mask = 1 << (at % 64);
        let clear = *word & mask == 0;
        *word |= mask;
        clear
    }

    pub(super) fn clear(&mut self, at: u64) {
        if let Some(word) = self.words.get_mut((at / 64) as usize) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(super) fn has(&self, at: u64) -> bool {
        self.words.get((at / 64) as usize).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_its_own() {
        let mut bits = Bits::new(130);
        for at in [0, 63, 64, 129] {
            assert!(!bits.has(at) && bits.set(at) && !bits.set(at) && bits.has(at), "{at}");
        }
        bits.clear(64);
        let set: Vec<_> = (0..130).filter(|at| bits.has(*at)).collect();
        assert_eq!(set, [0, 63, 129]);
        assert!(!bits.set(1 << 40) && !bits.has(1 << 40));
    }
}
