//! NFSv3 as clients we did not write use it: libnfs' programs, and every procedure through the
//! crate `nfs3_client`.
//!
//! Invariant: each procedure is called at least once for success and, where it has one, for its
//! typical refusal. Not promised: caching and retransmission; the kernel's client covers those in
//! `kernel_nfs`, `hostile` covers duplicates, `nfs_handles` what becomes of handles.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use nfs3_types::nfs3::{
    self, COMMIT3args, CREATE3args, LINK3args, LOOKUP3args, MKDIR3args, MKNOD3args, Nfs3Option,
    READ3args, READDIR3args, READDIRPLUS3args, REMOVE3args, RENAME3args, RMDIR3args, SETATTR3args,
    SYMLINK3args, WRITE3args, cookieverf3, createhow3, mknoddata3, nfs_fh3, nfsstat3, sattr3,
    stable_how, symlinkdata3,
};
use nfs3_types::xdr_codec::Opaque;
use towline_tests::content;
use towline_tests::nfs::{Connection, at, block_on, mount, ok, refused};
use towline_tests::node::Node;
use towline_tests::process::{command, must_run};
use towline_tests::skip::unless_installed;

fn mode(value: u32) -> sattr3 {
    sattr3 {
        mode: Nfs3Option::Some(value),
        ..sattr3::default()
    }
}

fn handle(object: nfs3::post_op_fh3) -> Result<nfs_fh3> {
    match object {
        Nfs3Option::Some(handle) => Ok(handle),
        Nfs3Option::None => bail!("no handle in the reply"),
    }
}

#[test]
fn files_are_made_written_read_and_removed() -> Result<()> {
    let node = Node::start()?;
    block_on(async {
        let mut client = mount(&node, "/projects").await?;
        let root = client.root_nfs_fh3();
        client.null().await?;
        let how = createhow3::GUARDED(mode(0o640));
        let made = client
            .create(&CREATE3args {
                where_: at(&root, "file"),
                how,
            })
            .await?;
        let file = handle(ok("CREATE", made)?.obj)?;
        let how = createhow3::GUARDED(mode(0o640));
        let again = client
            .create(&CREATE3args {
                where_: at(&root, "file"),
                how,
            })
            .await?;
        refused("CREATE GUARDED", again, nfsstat3::NFS3ERR_EXIST)?;
        exclusive(&mut client, &root).await?;
        write_and_commit(&mut client, &file).await?;
        let found = client
            .lookup(&LOOKUP3args {
                what: at(&root, "file"),
            })
            .await?;
        assert_eq!(ok("LOOKUP", found)?.object, file);
        let missing = client
            .lookup(&LOOKUP3args {
                what: at(&root, "missing"),
            })
            .await?;
        refused("LOOKUP", missing, nfsstat3::NFS3ERR_NOENT)?;
        let args = READ3args {
            file: file.clone(),
            offset: 100,
            count: 5000,
        };
        let read = ok("READ", client.read(&args).await?)?;
        assert!(
            read.count == 5000 && !read.eof,
            "{} bytes, eof {}",
            read.count,
            read.eof
        );
        content::judge(1, 100, &read.data)?;
        let args = READ3args {
            file: file.clone(),
            offset: 99_000,
            count: 5000,
        };
        let read = ok("READ at the end", client.read(&args).await?)?;
        assert!(
            read.count == 1000 && read.eof,
            "{} bytes, eof {}",
            read.count,
            read.eof
        );
        let args = READ3args {
            file: file.clone(),
            offset: 200_000,
            count: 5000,
        };
        let read = ok("READ beyond the end", client.read(&args).await?)?;
        assert!(read.count == 0 && read.eof);
        attributes(&mut client, &file).await?;
        let removed = client
            .remove(&REMOVE3args {
                object: at(&root, "file"),
            })
            .await?;
        ok("REMOVE", removed)?;
        let gone = client
            .getattr(&nfs3::GETATTR3args {
                object: file.clone(),
            })
            .await?;
        refused("GETATTR of a removed file", gone, nfsstat3::NFS3ERR_STALE)?;
        client.unmount().await?;
        Ok(())
    })
}

async fn exclusive(client: &mut Connection, root: &nfs_fh3) -> Result<()> {
    let exclusive = |verifier| CREATE3args {
        where_: at(root, "exclusive"),
        how: createhow3::EXCLUSIVE(nfs3::createverf3(verifier)),
    };
    ok("CREATE EXCLUSIVE", client.create(&exclusive([7; 8])).await?)?;
    ok("the same again", client.create(&exclusive([7; 8])).await?)?;
    let other = client.create(&exclusive([8; 8])).await?;
    refused("another verifier", other, nfsstat3::NFS3ERR_EXIST)
}

async fn write_and_commit(client: &mut Connection, file: &nfs_fh3) -> Result<()> {
    let mut verifier = None;
    for (offset, stable) in [
        (0, stable_how::UNSTABLE),
        (50_000, stable_how::DATA_SYNC),
        (90_000, stable_how::FILE_SYNC),
    ] {
        let length = if offset == 90_000 { 10_000 } else { 50_000 };
        let data = content::bytes(1, offset, length);
        let args = WRITE3args {
            file: file.clone(),
            offset,
            count: u32::try_from(length)?,
            stable,
            data: Opaque::owned(data),
        };
        let written = ok("WRITE", client.write(&args).await?)?;
        assert_eq!(written.count as usize, length);
        assert!(
            written.committed as u32 >= stable as u32,
            "less stable than asked for"
        );
        assert_eq!(
            *verifier.get_or_insert(written.verf),
            written.verf,
            "verifier changed"
        );
    }
    let args = COMMIT3args {
        file: file.clone(),
        offset: 0,
        count: 0,
    };
    let committed = ok("COMMIT", client.commit(&args).await?)?;
    assert_eq!(
        verifier,
        Some(committed.verf),
        "COMMIT knows another verifier"
    );
    Ok(())
}

async fn attributes(client: &mut Connection, file: &nfs_fh3) -> Result<()> {
    let getattr = nfs3::GETATTR3args {
        object: file.clone(),
    };
    let found = ok("GETATTR", client.getattr(&getattr).await?)?.obj_attributes;
    assert_eq!(
        (found.size, found.mode & 0o7777, found.nlink),
        (100_000, 0o640, 1)
    );
    let change = |guard| SETATTR3args {
        object: file.clone(),
        new_attributes: sattr3 {
            size: Nfs3Option::Some(10),
            ..mode(0o600)
        },
        guard,
    };
    let mut old = found.ctime;
    old.seconds = old.seconds.wrapping_sub(1);
    let guarded = client.setattr(&change(Nfs3Option::Some(old))).await?;
    refused(
        "SETATTR with an old ctime",
        guarded,
        nfsstat3::NFS3ERR_NOT_SYNC,
    )?;
    ok(
        "SETATTR",
        client
            .setattr(&change(Nfs3Option::Some(found.ctime)))
            .await?,
    )?;
    let found = ok("GETATTR", client.getattr(&getattr).await?)?.obj_attributes;
    assert_eq!((found.size, found.mode & 0o7777), (10, 0o600));
    let access = nfs3::ACCESS3args {
        object: file.clone(),
        access: 0x3f,
    };
    let granted = ok("ACCESS", client.access(&access).await?)?.access;
    assert_eq!(
        granted & (1 | 4 | 8),
        1 | 4 | 8,
        "its owner may read, modify and extend"
    );
    assert_eq!(granted & 32, 0, "it is not executable");
    Ok(())
}

#[test]
fn directories_links_and_nodes_are_made_and_listed() -> Result<()> {
    let node = Node::start()?;
    block_on(async {
        let mut client = mount(&node, "/projects").await?;
        let root = client.root_nfs_fh3();
        let args = MKDIR3args {
            where_: at(&root, "dir"),
            attributes: mode(0o755),
        };
        let directory = handle(ok("MKDIR", client.mkdir(&args).await?)?.obj)?;
        listing(&mut client, &directory, 0).await?;
        let how = createhow3::UNCHECKED(mode(0o644));
        let made = client
            .create(&CREATE3args {
                where_: at(&directory, "a"),
                how,
            })
            .await?;
        let file = handle(ok("CREATE", made)?.obj)?;
        let link = LINK3args {
            file: file.clone(),
            link: at(&directory, "b"),
        };
        ok("LINK", client.link(&link).await?)?;
        let symlink = symlinkdata3 {
            symlink_attributes: sattr3::default(),
            symlink_data: nfs3::nfspath3::from(b"a".to_vec()),
        };
        let made = client
            .symlink(&SYMLINK3args {
                where_: at(&directory, "s"),
                symlink,
            })
            .await?;
        let symlink = handle(ok("SYMLINK", made)?.obj)?;
        let target = client.readlink(&nfs3::READLINK3args { symlink }).await?;
        assert_eq!(ok("READLINK", target)?.data.0.as_ref(), b"a");
        let what = mknoddata3::NF3FIFO(mode(0o600));
        ok(
            "MKNOD",
            client
                .mknod(&MKNOD3args {
                    where_: at(&directory, "p"),
                    what,
                })
                .await?,
        )?;
        let rename = RENAME3args {
            from: at(&directory, "b"),
            to: at(&directory, "c"),
        };
        ok("RENAME", client.rename(&rename).await?)?;
        listing(&mut client, &directory, 4).await?;
        let full = client
            .rmdir(&RMDIR3args {
                object: at(&root, "dir"),
            })
            .await?;
        refused(
            "RMDIR of a full directory",
            full,
            nfsstat3::NFS3ERR_NOTEMPTY,
        )?;
        let file = client
            .rmdir(&RMDIR3args {
                object: at(&directory, "a"),
            })
            .await?;
        refused("RMDIR of a file", file, nfsstat3::NFS3ERR_NOTDIR)?;
        for name in ["a", "c", "s", "p"] {
            ok(
                "REMOVE",
                client
                    .remove(&REMOVE3args {
                        object: at(&directory, name),
                    })
                    .await?,
            )?;
        }
        ok(
            "RMDIR",
            client
                .rmdir(&RMDIR3args {
                    object: at(&root, "dir"),
                })
                .await?,
        )?;
        Ok(())
    })
}

/// Lists in small pieces with both procedures; both must name the same `count` entries once each.
async fn listing(client: &mut Connection, directory: &nfs_fh3, count: usize) -> Result<()> {
    let mut names = Vec::new();
    let (mut cookie, mut cookieverf) = (0, cookieverf3::default());
    for _call in 0..100 {
        let args = READDIR3args {
            dir: directory.clone(),
            cookie,
            cookieverf,
            count: 512,
        };
        let reply = ok("READDIR", client.readdir(&args).await?)?;
        cookieverf = reply.cookieverf;
        for entry in reply.reply.entries.0 {
            cookie = entry.cookie;
            names.push(entry.name.0.to_vec());
        }
        if reply.reply.eof {
            break;
        }
    }
    let mut plus = Vec::new();
    let (mut cookie, mut cookieverf) = (0, cookieverf3::default());
    for _call in 0..100 {
        let (dir, dircount, maxcount) = (directory.clone(), 256, 1024);
        let args = READDIRPLUS3args {
            dir,
            cookie,
            cookieverf,
            dircount,
            maxcount,
        };
        let reply = ok("READDIRPLUS", client.readdirplus(&args).await?)?;
        cookieverf = reply.cookieverf;
        for entry in reply.reply.entries.0 {
            cookie = entry.cookie;
            plus.push(entry.name.0.to_vec());
        }
        if reply.reply.eof {
            break;
        }
    }
    names.sort();
    plus.sort();
    assert_eq!(names, plus, "READDIR and READDIRPLUS disagree");
    names.retain(|name| name != b"." && name != b"..");
    let found = names.len();
    names.dedup();
    assert_eq!(
        (found, names.len()),
        (count, count),
        "entries, and entries without repetition"
    );
    Ok(())
}

#[test]
fn the_file_system_tells_its_limits() -> Result<()> {
    let node = Node::start()?;
    block_on(async {
        let mut client = mount(&node, "/projects").await?;
        let root = client.root_nfs_fh3();
        let info = client
            .fsinfo(&nfs3::FSINFO3args {
                fsroot: root.clone(),
            })
            .await?;
        let info = ok("FSINFO", info)?;
        assert_eq!((info.rtmax, info.wtmax), (1 << 20, 1 << 20));
        let stat = client
            .fsstat(&nfs3::FSSTAT3args {
                fsroot: root.clone(),
            })
            .await?;
        let stat = ok("FSSTAT", stat)?;
        assert!(stat.tbytes >= stat.fbytes && stat.fbytes >= stat.abytes && stat.tbytes > 0);
        let conf = client
            .pathconf(&nfs3::PATHCONF3args {
                object: root.clone(),
            })
            .await?;
        let conf = ok("PATHCONF", conf)?;
        assert_eq!(
            (conf.name_max, conf.case_insensitive, conf.case_preserving),
            (255, false, true)
        );
        let exports = client.mount_client.export().await?;
        let text = format!("{exports:?}");
        assert!(!text.is_empty());
        client.mount_client.null().await?;
        client.mount_client.dump().await?;
        client.mount_client.umntall().await?;
        Ok(())
    })
}

#[test]
fn the_read_only_volume_refuses_every_change() -> Result<()> {
    let node = Node::start()?;
    fs::write(node.volume("models").join("file"), "x")?;
    fs::create_dir(node.volume("models").join("dir"))?;
    block_on(async {
        let mut client = mount(&node, "/models").await?;
        let root = client.root_nfs_fh3();
        let found = client
            .lookup(&LOOKUP3args {
                what: at(&root, "file"),
            })
            .await?;
        let file = ok("LOOKUP", found)?.object;
        let rofs = nfsstat3::NFS3ERR_ROFS;
        let how = createhow3::UNCHECKED(mode(0o644));
        let new = || at(&root, "new");
        refused(
            "CREATE",
            client.create(&CREATE3args { where_: new(), how }).await?,
            rofs,
        )?;
        let args = MKDIR3args {
            where_: new(),
            attributes: mode(0o755),
        };
        refused("MKDIR", client.mkdir(&args).await?, rofs)?;
        let args = REMOVE3args {
            object: at(&root, "file"),
        };
        refused("REMOVE", client.remove(&args).await?, rofs)?;
        let args = RMDIR3args {
            object: at(&root, "dir"),
        };
        refused("RMDIR", client.rmdir(&args).await?, rofs)?;
        let args = RENAME3args {
            from: at(&root, "file"),
            to: new(),
        };
        refused("RENAME", client.rename(&args).await?, rofs)?;
        let args = LINK3args {
            file: file.clone(),
            link: new(),
        };
        refused("LINK", client.link(&args).await?, rofs)?;
        let what = mknoddata3::NF3FIFO(mode(0o600));
        refused(
            "MKNOD",
            client
                .mknod(&MKNOD3args {
                    where_: new(),
                    what,
                })
                .await?,
            rofs,
        )?;
        let guard = Nfs3Option::None;
        let args = SETATTR3args {
            object: file.clone(),
            new_attributes: mode(0o777),
            guard,
        };
        refused("SETATTR", client.setattr(&args).await?, rofs)?;
        let (data, stable) = (Opaque::owned(vec![1; 4]), stable_how::FILE_SYNC);
        let args = WRITE3args {
            file: file.clone(),
            offset: 0,
            count: 4,
            stable,
            data,
        };
        refused("WRITE", client.write(&args).await?, rofs)?;
        let access = nfs3::ACCESS3args {
            object: file.clone(),
            access: 0x3f,
        };
        let granted = ok("ACCESS", client.access(&access).await?)?.access;
        assert_eq!(granted & (4 | 8 | 16), 0, "ACCESS promises changes");
        Ok(())
    })
}

#[test]
fn libnfs_lists_reads_and_copies() -> Result<()> {
    if !unless_installed("nfs-ls", "libnfs-utils")? {
        return Ok(());
    }
    let node = Node::start()?;
    content::write(&node.volume("models").join("model.bin"), 4, 3_000_001)?;
    let port = node.nfs().port();
    let url = |path: &str| {
        format!(
            "nfs://127.0.0.1/{path}?version=3&nfsport={port}&mountport={port}&uid=1000&gid=1000"
        )
    };
    let limit = Duration::from_secs(60);
    let listing = must_run(command("nfs-ls", &[&url("models")]), limit)?;
    let listing = String::from_utf8(listing)?;
    assert!(
        listing.contains("model.bin") && listing.contains("3000001"),
        "{listing}"
    );
    let body = must_run(command("nfs-cat", &[&url("models/model.bin")]), limit)?;
    assert_eq!(body.len(), 3_000_001);
    content::judge(4, 0, &body)?;
    let source = node
        .volume("models")
        .join("model.bin")
        .display()
        .to_string();
    must_run(
        command("nfs-cp", &[&source, &url("projects/copy.bin")]),
        limit,
    )?;
    let copy = fs::read(node.volume("projects").join("copy.bin"))?;
    assert_eq!(copy.len(), 3_000_001);
    content::judge(4, 0, &copy)
}
