//! Messages of protocol buffers, read field by field: what stores keep of themselves. Bytes may be
//! anything; nothing is allocated.

/// A field's value, as far as its kind tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    Other,
}

/// The fields of a message; `None` once where it is malformed.
pub(super) struct Fields<'m>(pub(super) &'m [u8]);

impl<'m> Fields<'m> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, len: u64) -> Option<&'m [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'m>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let len = self.number()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Option<(u64, Value<'m>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_end_with_what_is_malformed() {
        let bytes = [1 << 3, 0x96, 1, 2 << 3 | 2, 2, b'a', b'b', 3 << 3 | 5, 0, 0, 0, 0];
        let all: Option<Vec<_>> = Fields(&bytes).collect();
        let expected = [(1, Value::Number(150)), (2, Value::Bytes(b"ab")), (3, Value::Other)];
        assert_eq!(all.unwrap(), expected);
        for len in [1, 2, 4, 5, 6, 8, 11] {
            assert_eq!(Fields(&bytes[..len]).last(), Some(None), "{len}");
        }
        assert_eq!(Fields(&[0xff; 20]).count(), 1);
        assert_eq!(Fields(&[3 << 3 | 3]).last(), Some(None), "a group");
    }
}
