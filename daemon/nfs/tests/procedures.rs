//! Every procedure of NFSv3 on a real directory, encoded and decoded by another implementation.
//!
//! What only root can show (squashing, devices) is asked only of root. Not covered: sockets and
//! real clients, which the whole-system tests drive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

mod harness;

use harness::*;
use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Opaque;

const A: &str = "10.0.0.1:700";

fn entry<'a>(dir: &nfs_fh3, name: &'a str) -> diropargs3<'a> {
    diropargs3 {
        dir: dir.clone(),
        name: filename3(Opaque::borrowed(name.as_bytes())),
    }
}

fn lookup(client: &mut Client, dir: &nfs_fh3, name: &str) -> nfs_fh3 {
    let what = entry(dir, name);
    let result: LOOKUP3res = client.nfs(3, &LOOKUP3args { what });
    result.unwrap().object
}

fn status<T, E>(result: Nfs3Result<T, E>) -> nfsstat3 {
    match result {
        Nfs3Result::Ok(_) => nfsstat3::NFS3_OK,
        Nfs3Result::Err((status, _)) => status,
    }
}

fn mode(bits: u32) -> sattr3 {
    sattr3 {
        mode: Nfs3Option::Some(bits),
        ..sattr3::default()
    }
}

fn create(client: &mut Client, dir: &nfs_fh3, name: &str) -> nfs_fh3 {
    let arguments = CREATE3args {
        where_: entry(dir, name),
        how: createhow3::GUARDED(mode(0o644)),
    };
    let result: CREATE3res = client.nfs(8, &arguments);
    let made = result.unwrap();
    assert!(matches!(made.dir_wcc.after, Nfs3Option::Some(_)));
    match made.obj {
        Nfs3Option::Some(handle) => handle,
        Nfs3Option::None => panic!("a handle"),
    }
}

fn write(
    client: &mut Client,
    file: &nfs_fh3,
    offset: u64,
    data: &[u8],
    stable: stable_how,
) -> WRITE3resok {
    let arguments = WRITE3args {
        file: file.clone(),
        offset,
        count: data.len() as u32,
        stable,
        data: Opaque::borrowed(data),
    };
    let result: WRITE3res = client.nfs(7, &arguments);
    result.unwrap()
}

fn read(client: &mut Client, file: &nfs_fh3, offset: u64, count: u32) -> (Vec<u8>, bool) {
    let arguments = READ3args {
        file: file.clone(),
        offset,
        count,
    };
    let bytes = client.raw(NFS, 3, 6, &pack(&arguments));
    let result: READ3res<'_> = unpack(&bytes);
    let ok = result.unwrap();
    assert_eq!(ok.count as usize, ok.data.len());
    assert!(has_attributes(&ok.file_attributes));
    (ok.data.to_vec(), ok.eof)
}

#[test]
fn a_file_is_created_written_read_and_found_again() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = create(&mut client, &root, "a");
    let reply = write(&mut client, &file, 0, b"hello world", stable_how::UNSTABLE);
    assert_eq!((reply.count, reply.committed), (11, stable_how::UNSTABLE));
    assert_eq!(client.payloads, 1);
    let stable = write(&mut client, &file, 6, b"earth!!", stable_how::FILE_SYNC);
    assert_eq!(stable.committed, stable_how::FILE_SYNC);
    assert_eq!(stable.verf, reply.verf);
    let Nfs3Option::Some(before) = stable.file_wcc.before else {
        panic!("nothing else was writing");
    };
    assert_eq!(before.size, 11);
    assert_eq!(
        read(&mut client, &file, 0, 100),
        (b"hello earth!!".to_vec(), true)
    );
    assert_eq!(read(&mut client, &file, 6, 5), (b"earth".to_vec(), false));
    assert_eq!(read(&mut client, &file, 13, 5), (Vec::new(), true));
    assert_eq!(read(&mut client, &file, u64::MAX, 5), (Vec::new(), true));
    assert_eq!(lookup(&mut client, &root, "a"), file);
    assert_eq!(
        std::fs::read(node.path("projects/a")).unwrap(),
        b"hello earth!!"
    );
    let arguments = COMMIT3args {
        file,
        offset: 0,
        count: 0,
    };
    let result: COMMIT3res = client.nfs(21, &arguments);
    assert_eq!(result.unwrap().verf, reply.verf);
}

#[test]
fn what_is_hot_runs_no_job() {
    let node = node();
    write_file(node.path("models/weights"), &[7; 100]);
    let mut client = node.client(A);
    let root = node.root("models");
    let file = lookup(&mut client, &root, "weights");
    read(&mut client, &file, 0, 100);
    let jobs_run = client.jobs_run;
    let result: GETATTR3res = client.nfs(
        1,
        &GETATTR3args {
            object: file.clone(),
        },
    );
    let attributes = result.unwrap().obj_attributes;
    assert_eq!((attributes.size, attributes.type_), (100, ftype3::NF3REG));
    assert_eq!(lookup(&mut client, &root, "weights"), file);
    assert_eq!(lookup(&mut client, &root, "."), root);
    assert_eq!(read(&mut client, &file, 1, 98), (vec![7; 98], false));
    let arguments = ACCESS3args {
        object: file.clone(),
        access: 0x3f,
    };
    let result: ACCESS3res = client.nfs(4, &arguments);
    assert_eq!(result.unwrap().access & 0x1f, 0x01, "no writing on models");
    let result: FSINFO3res = client.nfs(
        19,
        &FSINFO3args {
            fsroot: root.clone(),
        },
    );
    let info = result.unwrap();
    assert_eq!(
        (info.rtmax, info.wtmax, info.dtpref),
        (1 << 20, 1 << 20, 65_536)
    );
    assert_eq!(client.jobs_run, jobs_run);
    assert!(client.connection.is_idle());
    use towline_io::Protocol;
    let _ = Protocol::bytes_held(&client.connection);
}

#[test]
fn the_parent_of_the_root_is_the_root() {
    let node = node();
    std::fs::create_dir(node.path("projects/below")).unwrap();
    let mut client = node.client(A);
    let root = node.root("projects");
    assert_eq!(lookup(&mut client, &root, ".."), root);
    let below = lookup(&mut client, &root, "below");
    assert_eq!(lookup(&mut client, &below, ".."), root);
    for name in ["a/b", "..\0", ""] {
        let what = entry(&root, name);
        let result: LOOKUP3res = client.nfs(3, &LOOKUP3args { what });
        assert_eq!(status(result), nfsstat3::NFS3ERR_INVAL, "{name:?}");
    }
    let long = "x".repeat(256);
    let what = entry(&root, &long);
    let result: LOOKUP3res = client.nfs(3, &LOOKUP3args { what });
    assert_eq!(status(result), nfsstat3::NFS3ERR_NAMETOOLONG);
    let what = entry(&root, "missing");
    let result: LOOKUP3res = client.nfs(3, &LOOKUP3args { what });
    let Nfs3Result::Err((nfsstat3::NFS3ERR_NOENT, fail)) = result else {
        panic!("{result:?}");
    };
    assert!(has_attributes(&fail.dir_attributes));
}

#[test]
fn directories_links_and_special_files_are_made_and_removed() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let arguments = MKDIR3args {
        where_: entry(&root, "dir"),
        attributes: mode(0o755),
    };
    let result: MKDIR3res = client.nfs(9, &arguments);
    let Nfs3Option::Some(dir) = result.unwrap().obj else {
        panic!("a handle");
    };
    let arguments = SYMLINK3args {
        where_: entry(&dir, "link"),
        symlink: symlinkdata3 {
            symlink_attributes: sattr3::default(),
            symlink_data: nfspath3(Opaque::borrowed(b"../target")),
        },
    };
    let result: SYMLINK3res = client.nfs(10, &arguments);
    let Nfs3Option::Some(symlink) = result.unwrap().obj else {
        panic!("a handle");
    };
    let bytes = client.raw(
        NFS,
        3,
        5,
        &pack(&READLINK3args {
            symlink: symlink.clone(),
        }),
    );
    let result: READLINK3res<'_> = unpack(&bytes);
    assert_eq!(&*result.unwrap().data.0, b"../target");
    let arguments = MKNOD3args {
        where_: entry(&dir, "pipe"),
        what: mknoddata3::NF3FIFO(mode(0o600)),
    };
    let result: MKNOD3res = client.nfs(11, &arguments);
    assert_eq!(status(result), nfsstat3::NFS3_OK);
    let remove = |client: &mut Client, procedure, name| {
        let object = entry(&dir, name);
        let result: REMOVE3res = client.nfs(procedure, &REMOVE3args { object });
        status(result)
    };
    let object = entry(&root, "dir");
    let result: RMDIR3res = client.nfs(13, &RMDIR3args { object });
    assert_eq!(status(result), nfsstat3::NFS3ERR_NOTEMPTY);
    assert_eq!(remove(&mut client, 13, "pipe"), nfsstat3::NFS3ERR_NOTDIR);
    assert_eq!(remove(&mut client, 13, "."), nfsstat3::NFS3ERR_INVAL);
    assert_eq!(remove(&mut client, 12, "pipe"), nfsstat3::NFS3_OK);
    assert_eq!(remove(&mut client, 12, "link"), nfsstat3::NFS3_OK);
    assert_eq!(remove(&mut client, 12, "link"), nfsstat3::NFS3ERR_NOENT);
    let object = entry(&root, "dir");
    let result: RMDIR3res = client.nfs(13, &RMDIR3args { object });
    assert_eq!(status(result), nfsstat3::NFS3_OK);
}

#[test]
fn names_are_added_and_moved_within_an_export_only() {
    let node = node();
    let mut client = node.client(A);
    let (root, cache) = (node.root("projects"), node.root("cache"));
    let file = create(&mut client, &root, "a");
    let link = |client: &mut Client, dir: &nfs_fh3| {
        let arguments = LINK3args {
            file: file.clone(),
            link: entry(dir, "b"),
        };
        let result: LINK3res = client.nfs(15, &arguments);
        status(result)
    };
    assert_eq!(link(&mut client, &root), nfsstat3::NFS3_OK);
    assert_eq!(link(&mut client, &root), nfsstat3::NFS3ERR_EXIST);
    assert_eq!(link(&mut client, &cache), nfsstat3::NFS3ERR_XDEV);
    let rename = |client: &mut Client, from: &str, to_dir: &nfs_fh3, to: &str| {
        let arguments = RENAME3args {
            from: entry(&root, from),
            to: entry(to_dir, to),
        };
        let result: RENAME3res = client.nfs(14, &arguments);
        status(result)
    };
    assert_eq!(
        rename(&mut client, "b", &cache, "c"),
        nfsstat3::NFS3ERR_XDEV
    );
    assert_eq!(rename(&mut client, "b", &root, "c"), nfsstat3::NFS3_OK);
    assert_eq!(
        rename(&mut client, "b", &root, "c"),
        nfsstat3::NFS3ERR_NOENT
    );
    assert_eq!(lookup(&mut client, &root, "c"), file);
}

#[test]
fn attributes_change_only_if_the_guard_holds() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = create(&mut client, &root, "a");
    let set = |client: &mut Client, guard| {
        let arguments = SETATTR3args {
            object: file.clone(),
            new_attributes: sattr3 {
                size: Nfs3Option::Some(5),
                ..mode(0o600)
            },
            guard,
        };
        let result: SETATTR3res = client.nfs(2, &arguments);
        status(result)
    };
    let wrong = nfstime3 {
        seconds: 1,
        nseconds: 0,
    };
    let guarded = set(&mut client, Nfs3Option::Some(wrong));
    assert_eq!(guarded, nfsstat3::NFS3ERR_NOT_SYNC);
    assert_eq!(set(&mut client, Nfs3Option::None), nfsstat3::NFS3_OK);
    let result: GETATTR3res = client.nfs(1, &GETATTR3args { object: file });
    let attributes = result.unwrap().obj_attributes;
    assert_eq!((attributes.size, attributes.mode), (5, 0o600));
}

#[test]
fn an_exclusive_create_can_be_repeated_with_its_verifier_only() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let create = |client: &mut Client, verifier: &[u8; 8]| {
        let arguments = CREATE3args {
            where_: entry(&root, "x"),
            how: createhow3::EXCLUSIVE(createverf3(*verifier)),
        };
        let result: CREATE3res = client.nfs(8, &arguments);
        status(result)
    };
    assert_eq!(create(&mut client, b"verifier"), nfsstat3::NFS3_OK);
    assert_eq!(create(&mut client, b"verifier"), nfsstat3::NFS3_OK);
    assert_eq!(create(&mut client, b"another!"), nfsstat3::NFS3ERR_EXIST);
}

#[test]
fn a_directory_is_listed_in_pieces_that_respect_the_limits() {
    let node = node();
    for number in 0..300 {
        write_file(node.path(&format!("projects/file-{number:03}")), b"");
    }
    let mut client = node.client(A);
    let root = node.root("projects");
    let (mut names, mut cookie, mut calls) = (Vec::new(), 0, 0);
    loop {
        // Both procedures continue each other's cookies.
        let eof = match calls % 2 {
            0 => {
                let arguments = READDIR3args {
                    dir: root.clone(),
                    cookie,
                    cookieverf: cookieverf3::default(),
                    count: 2048,
                };
                let bytes = client.raw(NFS, 3, 16, &pack(&arguments));
                assert!(bytes.len() <= 2048 + 4, "{}", bytes.len());
                let result: READDIR3res<'_> = unpack(&bytes);
                let reply = result.unwrap().reply;
                for entry in &reply.entries.0 {
                    names.push(entry.name.0.to_vec());
                    cookie = entry.cookie;
                }
                reply.eof
            }
            _ => {
                let arguments = READDIRPLUS3args {
                    dir: root.clone(),
                    cookie,
                    cookieverf: cookieverf3::default(),
                    dircount: 1024,
                    maxcount: 4096,
                };
                let bytes = client.raw(NFS, 3, 17, &pack(&arguments));
                assert!(bytes.len() <= 4096 + 4);
                let result: READDIRPLUS3res<'_> = unpack(&bytes);
                let reply = result.unwrap().reply;
                for entry in &reply.entries.0 {
                    names.push(entry.name.0.to_vec());
                    cookie = entry.cookie;
                    assert!(matches!(entry.name_handle, Nfs3Option::Some(_)));
                }
                reply.eof
            }
        };
        calls += 1;
        if eof {
            break;
        }
    }
    assert!(calls > 5);
    let listed = names.len();
    names.sort();
    names.dedup();
    assert_eq!(listed, names.len(), "no entry twice");
    assert_eq!(names.len(), 302, "300 files, . and ..");
    for number in 300..600 {
        write_file(node.path(&format!("projects/file-{number:03}")), b"");
    }
    let greedy = READDIRPLUS3args {
        dir: root.clone(),
        cookie: 0,
        cookieverf: cookieverf3::default(),
        dircount: u32::MAX,
        maxcount: u32::MAX,
    };
    let bytes = client.raw(NFS, 3, 17, &pack(&greedy));
    assert!((60_000..=65_540).contains(&bytes.len()), "{}", bytes.len());
    let small = READDIR3args {
        dir: root.clone(),
        cookie: 0,
        cookieverf: cookieverf3::default(),
        count: 100,
    };
    let bytes = client.raw(NFS, 3, 16, &pack(&small));
    assert_eq!(
        status(unpack::<READDIR3res<'_>>(&bytes)),
        nfsstat3::NFS3ERR_TOOSMALL
    );
}

#[test]
fn room_and_limits_are_those_of_the_file_system() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let result: FSSTAT3res = client.nfs(
        18,
        &FSSTAT3args {
            fsroot: root.clone(),
        },
    );
    let room = result.unwrap();
    assert!(room.tbytes >= room.fbytes && room.tbytes > 0);
    let result: PATHCONF3res = client.nfs(20, &PATHCONF3args { object: root });
    let limits = result.unwrap();
    assert_eq!(limits.name_max, 255);
    assert!(limits.case_preserving && !limits.case_insensitive && limits.chown_restricted);
}

/// Threat N12: on a read-only export and for an address that may only read.
#[test]
fn every_mutating_procedure_is_refused_where_only_reading_is_allowed() {
    let node = node();
    write_file(node.path("models/a"), b"x");
    write_file(node.path("projects/a"), b"x");
    for (volume, address) in [("models", A), ("projects", "10.9.0.1:700")] {
        let mut client = node.client(address);
        let root = node.root(volume);
        let file = lookup(&mut client, &root, "a");
        assert_eq!(read(&mut client, &file, 0, 9).0, b"x");
        let place = || pack(&entry(&root, "new"));
        let handle = || pack(&file);
        let set = || pack(&mode(0o600));
        let calls: [(u32, Vec<u8>); 11] = [
            (2, [handle(), set(), vec![0; 4]].concat()),
            (
                7,
                [
                    handle(),
                    vec![0; 8],
                    vec![0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 4],
                    vec![1; 4],
                ]
                .concat(),
            ),
            (8, [place(), vec![0; 4], set()].concat()),
            (9, [place(), set()].concat()),
            (
                10,
                [place(), set(), vec![0, 0, 0, 4], b"abcd".to_vec()].concat(),
            ),
            (11, [place(), vec![0, 0, 0, 7], set()].concat()),
            (12, pack(&entry(&root, "a"))),
            (13, pack(&entry(&root, "a"))),
            (14, [pack(&entry(&root, "a")), place()].concat()),
            (15, [handle(), place()].concat()),
            (21, [handle(), vec![0; 12]].concat()),
        ];
        for (procedure, arguments) in calls {
            let result = client.raw(NFS, 3, procedure, &arguments);
            assert_eq!(
                &result[..4],
                &[0, 0, 0, 30],
                "{volume}: procedure {procedure}"
            );
        }
        assert_eq!(
            std::fs::read(node.path(&format!("{volume}/a"))).unwrap(),
            b"x"
        );
    }
}

#[test]
fn an_address_that_is_not_listed_opens_nothing() {
    let node = node();
    let mut client = node.client("192.168.0.1:700");
    let object = node.root("projects");
    let result: GETATTR3res = client.nfs(1, &GETATTR3args { object });
    assert_eq!(status(result), nfsstat3::NFS3ERR_ACCES);
}

/// Threat N9.
#[test]
fn a_forged_handle_is_no_handle_and_a_deleted_file_is_stale() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = create(&mut client, &root, "a");
    let mut forged = file.data.to_vec();
    forged[7] ^= 1;
    let object = fh(&forged);
    let result: GETATTR3res = client.nfs(1, &GETATTR3args { object });
    assert_eq!(status(result), nfsstat3::NFS3ERR_BADHANDLE);
    std::fs::remove_file(node.path("projects/a")).unwrap();
    let result: GETATTR3res = client.nfs(1, &GETATTR3args { object: file });
    assert_eq!(status(result), nfsstat3::NFS3ERR_STALE);
}

#[test]
fn a_write_in_many_fragments_arrives_whole() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = create(&mut client, &root, "a");
    let data: Vec<u8> = (0..1_000_000_u32).map(|byte| byte as u8).collect();
    let arguments = pack(&WRITE3args {
        file,
        offset: 3,
        count: data.len() as u32,
        stable: stable_how::FILE_SYNC,
        data: Opaque::borrowed(&data),
    });
    let message = message(7, NFS, 3, 7, &unix(&me()), &arguments);
    client.send(&fragments(&message, 2048));
    let reply = client.replies.remove(&7).unwrap();
    let result: WRITE3res = unpack(&reply[24..]);
    assert_eq!(result.unwrap().count as usize, data.len());
    assert_eq!(client.payloads, 0);
    assert_eq!(std::fs::read(node.path("projects/a")).unwrap()[3..], data);
    assert_eq!(node.server.metrics().written_bytes, 1_000_000);
}

#[test]
fn a_write_behind_the_largest_offset_is_too_big_and_the_stream_goes_on() {
    let node = node();
    let mut client = node.client(A);
    let file = create(&mut client, &node.root("projects"), "a");
    for offset in [u64::MAX, i64::MAX as u64 - 3] {
        let arguments = WRITE3args {
            file: file.clone(),
            offset,
            count: 5,
            stable: stable_how::UNSTABLE,
            data: Opaque::borrowed(b"hello"),
        };
        let result: WRITE3res = client.nfs(7, &arguments);
        assert_eq!(status(result), nfsstat3::NFS3ERR_FBIG);
    }
    assert_eq!(read(&mut client, &file, 0, 9), (Vec::new(), true));
}

/// Two connections write the same file: the second begins before the first has ended.
#[test]
fn the_attributes_before_are_withheld_from_writes_that_overlap() {
    use towline_io::{Demand, Output, Protocol};
    let node = node();
    let mut client = node.client(A);
    let file = create(&mut client, &node.root("cache"), "a");
    write(&mut client, &file, 0, b"open", stable_how::UNSTABLE);
    let arguments = pack(&WRITE3args {
        file: file.clone(),
        offset: 0,
        count: 4,
        stable: stable_how::UNSTABLE,
        data: Opaque::borrowed(b"slow"),
    });
    let stream = record(&message(5, NFS, 3, 7, &unix(&me()), &arguments));
    let slow = node.desk.connection(towline_nfs::Programs::Nfs, peer(A));
    let (mut slow, mut output) = (slow.unwrap(), Output::default());
    let demand = slow.advance(&mut &stream[..], &mut output);
    assert!(matches!(demand, Demand::Payload(_)));
    let quick = write(&mut client, &file, 0, b"fast", stable_how::UNSTABLE);
    assert!(matches!(quick.file_wcc.before, Nfs3Option::None));
    slow.received(Ok(()), &mut output);
    let (reply, _, _) = output.take();
    let result: WRITE3res = unpack(&reply[28..]);
    assert!(matches!(result.unwrap().file_wcc.before, Nfs3Option::None));
    let alone = write(&mut client, &file, 0, b"fast", stable_how::UNSTABLE);
    assert!(matches!(alone.file_wcc.before, Nfs3Option::Some(_)));
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_replies() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = create(&mut client, &root, "a");
    let write = pack(&WRITE3args {
        file: file.clone(),
        offset: 0,
        count: 5,
        stable: stable_how::UNSTABLE,
        data: Opaque::borrowed(b"hello"),
    });
    let read = pack(&READ3args {
        file: file.clone(),
        offset: 0,
        count: 5,
    });
    let stream = [
        record(&message(1, NFS, 3, 1, &unix(&me()), &pack(&file))),
        record(&message(2, NFS, 3, 7, &unix(&me()), &write)),
        record(&message(3, NFS, 3, 6, &unix(&me()), &read)),
    ]
    .concat();
    for cut in 0..stream.len() {
        // The harness hands over whole payloads only, so no cut within one.
        let mut client = node.client(A);
        let end_of_write = stream.len() - record(&message(3, NFS, 3, 6, &unix(&me()), &read)).len();
        if (end_of_write - 8..end_of_write).contains(&cut) {
            continue;
        }
        client.send(&stream[..cut]);
        client.send(&stream[cut..]);
        assert_eq!(client.replies.len(), 3, "cut at {cut}");
        assert_eq!(&client.replies[&3][128..133], b"hello", "cut at {cut}");
    }
}

#[test]
fn a_retransmission_gets_the_first_reply_even_over_another_connection() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("projects");
    create(&mut client, &root, "a");
    let arguments = pack(&entry(&root, "a"));
    let message = message(7, NFS, 3, 12, &unix(&me()), &arguments);
    let first = client.words(&message);
    assert_eq!(first[6], 0, "removed");
    assert_eq!(client.words(&message), first);
    let mut restamped = message.clone();
    restamped[32..36].copy_from_slice(&[9; 4]);
    assert_eq!(
        client.words(&restamped),
        first,
        "a new stamp is no new call"
    );
    let mut other = node.client("10.0.0.1:55555");
    assert_eq!(other.words(&message), first);
    let mut stranger = node.client("10.0.0.2:700");
    assert_eq!(
        stranger.words(&message)[6],
        2,
        "another client's call is its own"
    );
    assert_eq!(node.server.metrics().replays, 3);
}

#[test]
fn a_stable_write_on_a_cache_volume_waits_for_no_disk() {
    let node = node();
    let mut client = node.client(A);
    let root = node.root("cache");
    let file = create(&mut client, &root, "a");
    let reply = write(&mut client, &file, 0, b"x", stable_how::FILE_SYNC);
    assert!(matches!(reply.file_wcc.before, Nfs3Option::Some(_)));
    assert_eq!(reply.committed, stable_how::FILE_SYNC);
    assert_eq!(
        client.jobs_run, 2,
        "create and open; a cache volume promises no sync"
    );
}

/// Threat N10: a claimed uid feeds the kernel's permission checks and nothing else.
#[test]
fn a_strangers_uid_ends_at_the_permission_bits() {
    if !towline_sys::identity::can_switch() {
        return;
    }
    let node = node();
    write_file(node.path("projects/secret"), b"x");
    let mut client = node.client(A);
    let root = node.root("projects");
    let file = lookup(&mut client, &root, "secret");
    use std::os::unix::fs::PermissionsExt;
    let only_owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(node.path("projects/secret"), only_owner).unwrap();
    let arguments = pack(&READ3args {
        file,
        offset: 0,
        count: 9,
    });
    let stranger = towline_sys::identity::Identity::new(1234, 1234, &[]);
    let words = client.words(&message(9, NFS, 3, 6, &unix(&stranger), &arguments));
    assert_eq!(words[6], 13, "ACCES");
    assert_eq!(read(&mut client, &node.root_file("secret"), 0, 9).0, b"x");
}

impl Node {
    fn root_file(&self, name: &str) -> nfs_fh3 {
        let mut client = self.client(A);
        lookup(&mut client, &self.root("projects"), name)
    }
}
