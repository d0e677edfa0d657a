//! COMPOUNDs put together and taken apart by hand, for the tests of version 4.
//!
//! The encodings are written down here from RFC 8881 once more, so that a mistake in the crate's
//! own does not hide itself.

use super::{Client, NFS, message, record, unix};

/// Operations on their way out.
#[derive(Clone, Default)]
pub(crate) struct Ops {
    pub(crate) bytes: Vec<u8>,
    count: u32,
}

impl Ops {
    pub(crate) fn op(mut self, number: u32) -> Self {
        self.count += 1;
        self.word(number)
    }

    pub(crate) fn word(mut self, word: u32) -> Self {
        self.bytes.extend_from_slice(&word.to_be_bytes());
        self
    }

    pub(crate) fn long(mut self, long: u64) -> Self {
        self.bytes.extend_from_slice(&long.to_be_bytes());
        self
    }

    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn opaque(self, bytes: &[u8]) -> Self {
        let mut this = self.word(bytes.len() as u32).fixed(bytes);
        this.bytes.resize(this.bytes.len().next_multiple_of(4), 0);
        this
    }

    pub(crate) fn put_root(self) -> Self {
        self.op(24)
    }

    pub(crate) fn put(self, handle: &[u8]) -> Self {
        self.op(22).opaque(handle)
    }

    pub(crate) fn lookup(self, name: &str) -> Self {
        self.op(15).opaque(name.as_bytes())
    }

    pub(crate) fn get_handle(self) -> Self {
        self.op(10)
    }

    /// GETATTR of the size alone.
    pub(crate) fn get_size(self) -> Self {
        self.op(9).word(1).word(1 << 4)
    }

    /// OPEN of a name that is there.
    pub(crate) fn open(self, owner: &str, (access, deny): (u32, u32), name: &str) -> Self {
        self.op(18)
            .word(0)
            .word(access)
            .word(deny)
            .long(0)
            .opaque(owner.as_bytes())
            .word(0)
            .word(0)
            .opaque(name.as_bytes())
    }

    /// OPEN that makes a name, unchecked, with a mode.
    pub(crate) fn make(self, owner: &str, name: &str) -> Self {
        self.op(18)
            .word(0)
            .word(3)
            .word(0)
            .long(0)
            .opaque(owner.as_bytes())
            .word(1)
            .word(0)
            .word(2)
            .word(0)
            .word(1 << 1)
            .opaque(&0o644_u32.to_be_bytes())
            .word(0)
            .opaque(name.as_bytes())
    }

    pub(crate) fn read(self, stateid: &[u8], offset: u64, count: u32) -> Self {
        self.op(25).fixed(stateid).long(offset).word(count)
    }

    pub(crate) fn write(self, stateid: &[u8], offset: u64, stable: u32, data: &[u8]) -> Self {
        self.op(38)
            .fixed(stateid)
            .long(offset)
            .word(stable)
            .opaque(data)
    }

    pub(crate) fn close(self, stateid: &[u8]) -> Self {
        self.op(4).word(0).fixed(stateid)
    }

    /// LOCK by a new owner; kind 1 reads, 2 writes.
    pub(crate) fn lock(self, open: &[u8], owner: &str, kind: u32, range: (u64, u64)) -> Self {
        self.op(12)
            .word(kind)
            .word(0)
            .long(range.0)
            .long(range.1)
            .word(1)
            .word(0)
            .fixed(open)
            .word(0)
            .long(0)
            .opaque(owner.as_bytes())
    }

    pub(crate) fn unlock(self, lock: &[u8], range: (u64, u64)) -> Self {
        self.op(14)
            .word(2)
            .word(0)
            .fixed(lock)
            .long(range.0)
            .long(range.1)
    }
}

/// A reply on its way in.
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) count: u32,
    rest: Vec<u8>,
    at: usize,
}

impl Answer {
    pub(crate) fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.fixed(4).try_into().unwrap())
    }

    pub(crate) fn long(&mut self) -> u64 {
        u64::from_be_bytes(self.fixed(8).try_into().unwrap())
    }

    pub(crate) fn fixed(&mut self, bytes: usize) -> Vec<u8> {
        let part = self.rest[self.at..self.at + bytes].to_vec();
        self.at += bytes;
        part
    }

    pub(crate) fn opaque(&mut self) -> Vec<u8> {
        let length = self.word() as usize;
        let bytes = self.fixed(length);
        self.at = self.at.next_multiple_of(4);
        bytes
    }

    /// The next result must be of this operation and well.
    pub(crate) fn well(&mut self, operation: u32) -> &mut Self {
        assert_eq!((self.word(), self.word()), (operation, 0));
        self
    }

    /// The stateid of an OPEN, whose rest is passed over.
    pub(crate) fn opened(&mut self) -> Vec<u8> {
        self.opened_with().0
    }

    /// The same, and its flags.
    pub(crate) fn opened_with(&mut self) -> (Vec<u8>, u32) {
        self.well(18);
        let stateid = self.fixed(16);
        self.fixed(4 + 16);
        let flags = self.word();
        let words = self.word();
        self.fixed(4 * words as usize);
        assert_eq!(self.word(), 0, "no delegation");
        (stateid, flags)
    }
}

/// A session of one client.
pub(crate) struct Session {
    pub(crate) id: Vec<u8>,
    pub(crate) client: u64,
    pub(crate) sequence: u32,
    pub(crate) minor: u32,
}

/// Sends a COMPOUND without a session.
pub(crate) fn compound(client: &mut Client, minor: u32, ops: Ops) -> Answer {
    let bytes = raw(client, minor, &ops, Ops::default().bytes);
    answer(&bytes)
}

fn raw(client: &mut Client, minor: u32, ops: &Ops, before: Vec<u8>) -> Vec<u8> {
    let extra = u32::from(!before.is_empty());
    let mut arguments = Ops::default()
        .opaque(b"tag")
        .word(minor)
        .word(ops.count + extra)
        .bytes;
    arguments.extend_from_slice(&before);
    arguments.extend_from_slice(&ops.bytes);
    client.xid += 1;
    let xid = client.xid;
    let whole = message(xid, NFS, 4, 1, &unix(&super::me()), &arguments);
    client.send(&record(&whole));
    let reply = client.replies.remove(&xid).expect("a reply");
    assert_eq!(reply[20..24], [0; 4], "accepted");
    reply[24..].to_vec()
}

fn answer(bytes: &[u8]) -> Answer {
    let mut answer = Answer {
        status: 0,
        count: 0,
        rest: bytes.to_vec(),
        at: 0,
    };
    answer.status = answer.word();
    assert_eq!(answer.opaque(), b"tag");
    answer.count = answer.word();
    answer
}

impl Session {
    /// A client with a session, that reclaims nothing.
    pub(crate) fn new(client: &mut Client, name: &str, minor: u32) -> Self {
        let mut session = Self::before_reclaim(client, name, minor);
        let mut done = session.call(client, Ops::default().op(58).word(0));
        assert_eq!(done.status, 0);
        done.well(58);
        session
    }

    /// The same with a back channel, whose path is proved.
    pub(crate) fn called_back(client: &mut Client, name: &str, minor: u32) -> Self {
        let (mut session, flags) = Self::create(client, name, minor, 2);
        assert_eq!(flags, 2, "CONN_BACK_CHAN");
        let mut done = session.call(client, Ops::default().op(58).word(0));
        assert_eq!(done.status, 0);
        done.well(58);
        let [check] = &client.heard()[..] else {
            panic!("one CB_NULL");
        };
        let mut check = Heard::of(check);
        assert_eq!(check.procedure, 0);
        check.answer(client, &[]);
        session
    }

    /// The same before its RECLAIM_COMPLETE.
    pub(crate) fn before_reclaim(client: &mut Client, name: &str, minor: u32) -> Self {
        Self::create(client, name, minor, 0).0
    }

    fn create(client: &mut Client, name: &str, minor: u32, flags: u32) -> (Self, u32) {
        let exchange = Ops::default()
            .op(42)
            .fixed(b"verifier")
            .opaque(name.as_bytes())
            .word(0)
            .word(0)
            .word(0);
        let mut found = compound(client, minor, exchange);
        assert_eq!(found.status, 0);
        found.well(42);
        let id = found.long();
        let sequence = found.word();
        let create = Ops::default()
            .op(43)
            .long(id)
            .word(sequence)
            .word(flags)
            .channel(1_049_620, 8, 16)
            .channel(4096, 2, 1)
            .word(0x4000_0000)
            .word(1)
            .word(0);
        let mut made = compound(client, minor, create);
        assert_eq!(made.status, 0);
        made.well(43);
        let session = Self {
            id: made.fixed(16),
            client: id,
            sequence: 0,
            minor,
        };
        assert_eq!(made.word(), sequence);
        (session, made.word())
    }

    /// What SEQUENCE alone says (`SEQ4_STATUS_*`).
    pub(crate) fn flags(&mut self, client: &mut Client) -> u32 {
        self.sequence += 1;
        let reply = self.send(client, self.sequence, false, &Ops::default());
        let mut answer = answer(&reply);
        answer.well(53).fixed(32);
        answer.word()
    }

    /// BIND_CONN_TO_SESSION; the direction that was granted.
    pub(crate) fn bind(&self, client: &mut Client, direction: u32) -> u32 {
        let ops = Ops::default()
            .op(41)
            .fixed(&self.id)
            .word(direction)
            .word(0);
        let mut bound = compound(client, self.minor, ops);
        assert_eq!(bound.status, 0);
        bound.well(41).fixed(16);
        bound.word()
    }

    fn sequence(&self, number: u32, is_kept: bool) -> Vec<u8> {
        Ops::default()
            .op(53)
            .fixed(&self.id)
            .word(number)
            .word(0)
            .word(0)
            .word(u32::from(is_kept))
            .bytes
    }

    /// Calls with the next number of slot 0; the answer stands behind SEQUENCE.
    pub(crate) fn call(&mut self, client: &mut Client, ops: Ops) -> Answer {
        self.sequence += 1;
        let mut answer = answer(&self.send(client, self.sequence, false, &ops));
        answer.well(53);
        answer.fixed(36);
        answer
    }

    /// Sends with a number of its own; the whole reply.
    pub(crate) fn send(
        &self,
        client: &mut Client,
        number: u32,
        is_kept: bool,
        ops: &Ops,
    ) -> Vec<u8> {
        raw(client, self.minor, ops, self.sequence(number, is_kept))
    }

    /// The handle that a path from the root leads to.
    pub(crate) fn handle(&mut self, client: &mut Client, path: &[&str]) -> Vec<u8> {
        let mut ops = Ops::default().put_root();
        for name in path {
            ops = ops.lookup(name);
        }
        let mut found = self.call(client, ops.get_handle());
        assert_eq!(found.status, 0, "{path:?}");
        found.well(24);
        for _ in path {
            found.well(15);
        }
        found.well(10).opaque()
    }
}

impl Ops {
    /// `channel_attrs4` with equal sizes for requests and replies.
    pub(crate) fn channel(self, bytes: u32, operations: u32, slots: u32) -> Self {
        self.word(0)
            .word(bytes)
            .word(bytes)
            .word(1024)
            .word(operations)
            .word(slots)
            .word(0)
    }
}

/// A call of the node's own.
pub(crate) struct Heard {
    xid: u32,
    pub(crate) procedure: u32,
    pub(crate) credential: (u32, Vec<u8>),
    /// The session and the number of CB_SEQUENCE.
    session: Vec<u8>,
    pub(crate) sequence: u32,
    /// The operation behind it.
    pub(crate) operation: u32,
    pub(crate) arguments: Answer,
}

impl Heard {
    pub(crate) fn of(call: &[u8]) -> Self {
        let mut from = Answer {
            status: 0,
            count: 0,
            rest: call.to_vec(),
            at: 0,
        };
        let xid = from.word();
        assert_eq!((from.word(), from.word()), (0, 2), "a call of RPC 2");
        assert_eq!((from.word(), from.word()), (0x4000_0000, 1), "NFS_CB");
        let procedure = from.word();
        let credential = (from.word(), from.opaque());
        assert_eq!((from.word(), from.word()), (0, 0), "no verifier");
        let mut heard = Self {
            xid,
            procedure,
            credential,
            session: Vec::new(),
            sequence: 0,
            operation: 0,
            arguments: from,
        };
        if procedure == 1 {
            let from = &mut heard.arguments;
            assert_eq!(from.opaque(), b"");
            let _minor = from.word();
            assert_eq!((from.word(), from.word(), from.word()), (0, 2, 11));
            heard.session = from.fixed(16);
            heard.sequence = from.word();
            assert_eq!(
                from.fixed(16),
                [0; 16],
                "slot 0, nothing kept or referred to"
            );
            heard.operation = from.word();
        }
        heard
    }

    /// Answers with the body of a successful reply.
    pub(crate) fn answer(&mut self, client: &mut Client, body: &[u8]) {
        let head = Ops::default().word(self.xid).word(1).fixed(&[0; 16]);
        client.send(&record(&head.fixed(body).bytes));
    }

    /// Answers the operation behind CB_SEQUENCE with a status.
    pub(crate) fn done(&mut self, client: &mut Client, status: u32) {
        let results = Ops::default()
            .word(status)
            .word(0)
            .word(2)
            .word(11)
            .word(0)
            .fixed(&self.session)
            .word(self.sequence)
            .fixed(&[0; 12])
            .word(self.operation)
            .word(status);
        self.answer(client, &results.bytes);
    }
}

/// The status of a whole reply.
pub(crate) fn status_of(reply: &[u8]) -> u32 {
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}
