//! Attributes that a client sets: `fattr4` of SETATTR, CREATE and OPEN (RFC 8881 section 5).
//!
//! Invariant: an attribute that cannot be set refuses the whole (ATTRNOTSUPP, or INVAL for one
//! that can only be read), and the values are exactly as long as the set of names says. Not
//! promised: ACLs, archive and hidden bits, creation times.

use towline_volume::{SetAttributes, SetTime, Timestamp};

use super::STRING_BYTES_MAX;
use crate::v4::Status;
use crate::v4::attributes::{self as number, SETTABLE, SUPPORTED};
use crate::v4::bits::Bits;
use crate::xdr::{Malformed, Reader};

/// What is to be set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Which attributes were named.
    pub named: Bits,
    /// Their values.
    pub set: SetAttributes,
}

impl Settings {
    /// Reads a `fattr4`.
    ///
    /// # Errors
    /// BADXDR, ATTRNOTSUPP, INVAL, BADOWNER.
    pub fn parse(from: &mut Reader<'_>) -> Result<Self, Status> {
        let named = Bits::parse(from)?;
        let values = from.opaque(STRING_BYTES_MAX)?;
        let strange = named.without(&SETTABLE);
        if strange.has_more || !strange.without(&SUPPORTED).is_empty() {
            return Err(Status::AttrNotSupp);
        }
        if !strange.is_empty() {
            // It can be read and not set (RFC 8881 section 18.30.3).
            return Err(Status::Inval);
        }
        let mut values = Reader::new(values);
        let mut set = SetAttributes::default();
        for attribute in named.numbers() {
            read_one(attribute, &mut values, &mut set)?;
        }
        match values.rest() {
            [] => Ok(Self { named, set }),
            _ => Err(Status::BadXdr),
        }
    }
}

fn read_one(
    attribute: u32,
    values: &mut Reader<'_>,
    set: &mut SetAttributes,
) -> Result<(), Status> {
    match attribute {
        number::SIZE => set.size = Some(values.u64()?),
        number::MODE => {
            let mode = values.u32()?;
            if mode & !0o7777 != 0 {
                return Err(Status::Inval);
            }
            set.mode = Some(mode);
        }
        number::OWNER => set.uid = Some(owner(values)?),
        number::OWNER_GROUP => set.gid = Some(owner(values)?),
        number::TIME_ACCESS_SET => set.accessed = time(values)?,
        number::TIME_MODIFY_SET => set.modified = time(values)?,
        _ => return Err(Status::AttrNotSupp),
    }
    Ok(())
}

/// Owners are decimal numbers as text: what Linux sends and takes with AUTH_SYS (RFC 8881
/// section 5.9).
fn owner(values: &mut Reader<'_>) -> Result<u32, Status> {
    let text = values.opaque(STRING_BYTES_MAX)?;
    let text = std::str::from_utf8(text).map_err(|_| Status::BadOwner)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number => Ok(number),
        Ok(_) | Err(_) => Err(Status::BadOwner),
    }
}

/// `settime4`.
fn time(values: &mut Reader<'_>) -> Result<SetTime, Status> {
    match values.u32()? {
        0 => Ok(SetTime::Now),
        1 => {
            let seconds = values.u64()?.cast_signed();
            let nanoseconds = values.u32()?;
            if nanoseconds >= 1_000_000_000 {
                return Err(Status::Inval);
            }
            Ok(SetTime::To(Timestamp {
                seconds,
                nanoseconds,
            }))
        }
        _ => Err(Malformed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Writer;

    fn wire(numbers: &[u32], values: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let (mut wire, mut inner) = (Vec::new(), Vec::new());
        values(&mut Writer::new(&mut inner));
        let mut out = Writer::new(&mut wire);
        Bits::of(numbers).write(&mut out);
        out.opaque(&inner);
        wire
    }

    fn parse(wire: &[u8]) -> Result<Settings, Status> {
        Settings::parse(&mut Reader::new(wire))
    }

    #[test]
    fn values_are_read_in_the_order_of_their_numbers() {
        let good = wire(&[number::SIZE, number::MODE, number::OWNER], |out| {
            out.u64(9);
            out.u32(0o644);
            out.opaque(b"1000");
        });
        let set = parse(&good).unwrap().set;
        assert_eq!(
            (set.size, set.mode, set.uid),
            (Some(9), Some(0o644), Some(1000))
        );
    }

    #[test]
    fn what_cannot_be_set_is_refused_by_kind() {
        assert_eq!(parse(&wire(&[12], |_| {})), Err(Status::AttrNotSupp));
        assert_eq!(parse(&wire(&[number::TYPE], |_| {})), Err(Status::Inval));
        let named = wire(&[number::OWNER], |out| out.opaque(b"alice"));
        assert_eq!(parse(&named), Err(Status::BadOwner));
        let signed = wire(&[number::OWNER], |out| out.opaque(b"+5"));
        assert_eq!(parse(&signed), Err(Status::BadOwner));
        let longer = wire(&[number::MODE], |out| out.words([0o644, 1]));
        assert_eq!(parse(&longer), Err(Status::BadXdr));
        let cut = wire(&[number::SIZE], |out| out.u32(1));
        assert_eq!(parse(&cut), Err(Status::BadXdr));
    }
}
