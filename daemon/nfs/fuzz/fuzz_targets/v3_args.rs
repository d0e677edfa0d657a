//! The arguments of every procedure of NFSv3: any bytes, compared with another decoder.
//!
//! Asserts that nothing panics, that every prefix of good arguments is refused, and that what we
//! accept `nfs3_types` accepts with the same handle, name and numbers. We are stricter in three
//! places (nanoseconds, the two lengths of WRITE, handle length), so the other direction is not
//! asserted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Unpack;
use towline_nfs::v3::{Arguments, Procedure};
use towline_nfs::xdr::Reader;

fn oracle<T: Unpack>(bytes: &[u8]) -> T {
    match T::unpack(&mut &bytes[..]) {
        Ok((value, _)) => value,
        Err(error) => panic!("we accept what the oracle refuses: {error:?}"),
    }
}

fn compare(arguments: &Arguments<'_>, bytes: &[u8]) {
    let handle = arguments
        .first_handle()
        .map(|handle| handle.as_bytes().to_vec());
    let first = |handle_of: &nfs_fh3| assert_eq!(Some(handle_of.data.to_vec()), handle);
    match arguments {
        Arguments::Null => {}
        Arguments::GetAttr { .. }
        | Arguments::ReadLink { .. }
        | Arguments::FsStat { .. }
        | Arguments::FsInfo { .. }
        | Arguments::PathConf { .. } => first(&oracle::<GETATTR3args>(bytes).object),
        Arguments::SetAttr { changes, .. } => {
            let theirs = oracle::<SETATTR3args>(bytes);
            first(&theirs.object);
            let size = match theirs.new_attributes.size {
                Nfs3Option::Some(size) => Some(size),
                Nfs3Option::None => None,
            };
            assert_eq!(size, changes.size);
        }
        Arguments::Lookup(place) | Arguments::Remove(place) | Arguments::RmDir(place) => {
            let theirs = oracle::<LOOKUP3args<'_>>(bytes);
            first(&theirs.what.dir);
            assert_eq!(&*theirs.what.name.0, place.name);
        }
        Arguments::Access { asked, .. } => {
            assert_eq!(oracle::<ACCESS3args>(bytes).access, *asked);
        }
        Arguments::Read { offset, count, .. } => {
            let theirs = oracle::<READ3args>(bytes);
            first(&theirs.file);
            assert_eq!((theirs.offset, theirs.count), (*offset, *count));
        }
        Arguments::Write { head, .. } => assert_eq!(head.file.as_bytes(), handle.unwrap()),
        Arguments::Create { .. }
        | Arguments::MkDir { .. }
        | Arguments::SymLink { .. }
        | Arguments::MkNod { .. }
        | Arguments::Rename { .. }
        | Arguments::Link { .. } => compare_names(arguments, bytes),
        Arguments::ReadDir { resume, count } => {
            let theirs = oracle::<READDIR3args>(bytes);
            assert_eq!((theirs.cookie, theirs.count), (resume.cookie, *count));
        }
        Arguments::ReadDirPlus {
            resume, max_count, ..
        } => {
            let theirs = oracle::<READDIRPLUS3args>(bytes);
            assert_eq!(
                (theirs.cookie, theirs.maxcount),
                (resume.cookie, *max_count)
            );
        }
        Arguments::Commit { .. } => first(&oracle::<COMMIT3args>(bytes).file),
    }
}

/// The arguments of calls that make or move a name.
fn compare_names(arguments: &Arguments<'_>, bytes: &[u8]) {
    match arguments {
        Arguments::Create { place, .. } => {
            let theirs = oracle::<CREATE3args<'_>>(bytes);
            assert_eq!(&*theirs.where_.name.0, place.name);
        }
        Arguments::MkDir { place, .. } => {
            let theirs = oracle::<MKDIR3args<'_>>(bytes);
            assert_eq!(&*theirs.where_.name.0, place.name);
        }
        Arguments::SymLink { place, target, .. } => {
            let theirs = oracle::<SYMLINK3args<'_>>(bytes);
            assert_eq!(&*theirs.where_.name.0, place.name);
            assert_eq!(&*theirs.symlink.symlink_data.0, *target);
        }
        Arguments::MkNod { place, .. } => assert!(bytes.len() >= place.name.len()),
        Arguments::Rename { from, to } => {
            let theirs = oracle::<RENAME3args<'_, '_>>(bytes);
            assert_eq!(
                (&*theirs.from.name.0, &*theirs.to.name.0),
                (from.name, to.name)
            );
        }
        Arguments::Link { place, .. } => {
            let theirs = oracle::<LINK3args<'_>>(bytes);
            assert_eq!(&*theirs.link.name.0, place.name);
        }
        _ => unreachable!("the caller sends only calls that make or move a name"),
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (number, bytes) = input;
    let number = usize::from(number) % Procedure::COUNT;
    let procedure = Procedure::ALL[number];
    let mut reader = Reader::new(bytes);
    let Ok(arguments) = Arguments::parse(procedure, &mut reader) else {
        return;
    };
    let is_write = matches!(arguments, Arguments::Write { .. });
    if !is_write {
        let taken = bytes.len() - reader.rest().len();
        for cut in 0..taken {
            assert!(Arguments::parse(procedure, &mut Reader::new(&bytes[..cut])).is_err());
        }
    }
    compare(&arguments, bytes);
});
