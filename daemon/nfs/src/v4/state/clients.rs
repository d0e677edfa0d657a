//! Client ids: EXCHANGE_ID's nine cases and CREATE_SESSION's sequence (RFC 8881 sections 18.35.4
//! and 18.36.4).
//!
//! An owner has at most one confirmed and one unconfirmed record. Invariant: a record replaces a
//! confirmed one only when CREATE_SESSION confirms it, and the state of the one replaced goes
//! then, not before. Not promised: anything about what a client holds; the caller says whether
//! that keeps its id in use.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::v4::Status;

/// Most client ids of one address: a host with many containers has one for each.
pub const IDS_PER_ADDRESS_MAX: usize = 64;

/// Most client ids of a node; at about 1 KiB each, 16 MiB.
pub const IDS_MAX: usize = 16_384;

/// Longest owner, in bytes (RFC 8881 section 3.3.17, `NFS4_OPAQUE_LIMIT`).
pub const OWNER_BYTES_MAX: usize = 1024;

/// Who asks, as far as AUTH_SYS tells: flavour and uid.
pub type Principal = (u32, u32);

/// What EXCHANGE_ID says of the client.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// `co_ownerid`.
    pub owner: &'a [u8],
    /// `co_verifier`: another one means that the client has started anew.
    pub verifier: [u8; 8],
    /// Who asks.
    pub principal: Principal,
    /// From where.
    pub address: IpAddr,
    /// `EXCHGID4_FLAG_UPD_CONFIRMED_REC_A`.
    pub is_update: bool,
    /// Milliseconds since the start.
    pub now_ms: u64,
}

/// What EXCHANGE_ID gives back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exchanged {
    /// The client id.
    pub id: u64,
    /// What its next CREATE_SESSION must carry.
    pub sequence: u32,
    /// `EXCHGID4_FLAG_CONFIRMED_R`.
    pub is_confirmed: bool,
    /// A confirmed record of another principal that went for this one.
    pub gone: Option<u64>,
    /// The address of the confirmed record with this owner and another verifier.
    pub elsewhere: Option<IpAddr>,
}

/// What CREATE_SESSION leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Creation {
    /// The reply to the same call, given before.
    Replay(Vec<u8>),
    /// A new session, after taking away all that this earlier id of the owner holds.
    New {
        /// The id that was replaced.
        replaced: Option<u64>,
        /// Whether the id is confirmed by this.
        is_first: bool,
    },
}

#[derive(Clone, Debug)]
struct Record {
    owner: Box<[u8]>,
    verifier: [u8; 8],
    principal: Principal,
    address: IpAddr,
    is_confirmed: bool,
    /// When it was made, in milliseconds since the start.
    made_ms: u64,
    /// The number of the last CREATE_SESSION, and its reply.
    sequence: u32,
    reply: Option<Vec<u8>>,
}

/// All client ids.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: HashMap<u64, Record>,
    confirmed: HashMap<Box<[u8]>, u64>,
    unconfirmed: HashMap<Box<[u8]>, u64>,
    /// Client ids begin with this; no two starts of a node share it.
    epoch: u32,
    given: u32,
}

impl Clients {
    /// No clients yet, in the node's start number `epoch`.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// EXCHANGE_ID. `is_in_use` says whether an id holds state under a lease that runs.
    ///
    /// # Errors
    /// The statuses of section 18.35.4; DELAY when there are too many ids.
    pub fn exchange(
        &mut self,
        asked: &Exchange<'_>,
        is_in_use: impl FnOnce(u64) -> bool,
    ) -> Result<Exchanged, Status> {
        let known = self.confirmed.get(asked.owner).copied();
        let record = known.and_then(|id| Some((id, self.by_id.get(&id)?.clone())));
        if asked.is_update {
            return self.update(asked, record);
        }
        match record {
            // Cases 1 and 4: a new owner, or one whose first try was never confirmed.
            None => self.insert(asked, None, None),
            Some((id, record)) if record.principal == asked.principal => {
                if record.verifier == asked.verifier {
                    // Case 2: asked again.
                    self.forget_unconfirmed(asked.owner);
                    return Ok(Exchanged {
                        id,
                        sequence: record.sequence.wrapping_add(1),
                        is_confirmed: true,
                        gone: None,
                        elsewhere: None,
                    });
                }
                // Case 5: the client has started anew; what it held goes when it confirms.
                self.insert(asked, None, Some(record.address))
            }
            // Case 3: somebody else with the same name.
            Some((id, _)) if is_in_use(id) => Err(Status::ClidInUse),
            Some((id, _)) => {
                self.remove(id);
                self.insert(asked, Some(id), None)
            }
        }
    }

    /// Cases 6 to 9.
    fn update(
        &mut self,
        asked: &Exchange<'_>,
        record: Option<(u64, Record)>,
    ) -> Result<Exchanged, Status> {
        let (id, record) = record.ok_or(Status::NoEnt)?;
        if record.verifier != asked.verifier {
            return Err(Status::NotSame);
        }
        if record.principal != asked.principal {
            return Err(Status::Perm);
        }
        Ok(Exchanged {
            id,
            sequence: record.sequence.wrapping_add(1),
            is_confirmed: true,
            gone: None,
            elsewhere: None,
        })
    }

    fn insert(
        &mut self,
        asked: &Exchange<'_>,
        gone: Option<u64>,
        elsewhere: Option<IpAddr>,
    ) -> Result<Exchanged, Status> {
        self.forget_unconfirmed(asked.owner);
        let is_here = |record: &&Record| record.address == asked.address;
        let here = self.by_id.values().filter(is_here).count();
        if here >= IDS_PER_ADDRESS_MAX || self.by_id.len() >= IDS_MAX {
            self.forget_one_unconfirmed(asked.address)?;
        }
        self.given = self.given.wrapping_add(1);
        let id = u64::from(self.epoch) << 32 | u64::from(self.given);
        self.unconfirmed.insert(asked.owner.into(), id);
        self.by_id.insert(
            id,
            Record {
                owner: asked.owner.into(),
                verifier: asked.verifier,
                principal: asked.principal,
                address: asked.address,
                is_confirmed: false,
                made_ms: asked.now_ms,
                sequence: 0,
                reply: None,
            },
        );
        Ok(Exchanged {
            id,
            sequence: 1,
            is_confirmed: false,
            gone,
            elsewhere: elsewhere.filter(|address| *address != asked.address),
        })
    }

    /// CREATE_SESSION of `id` with this number. Follow a [`Creation::New`] with
    /// [`Clients::created`]. What was not confirmed within a lease is forgotten.
    ///
    /// # Errors
    /// STALE_CLIENTID, SEQ_MISORDERED or CLID_INUSE (section 18.36.4).
    pub fn create(
        &mut self,
        (id, sequence): (u64, u32),
        principal: Principal,
        (now_ms, lease_ms): (u64, u64),
    ) -> Result<Creation, Status> {
        let record = self.by_id.get(&id).ok_or(Status::StaleClientId)?;
        if !record.is_confirmed && now_ms.saturating_sub(record.made_ms) > lease_ms {
            self.remove(id);
            return Err(Status::StaleClientId);
        }
        if sequence == record.sequence
            && let Some(reply) = &record.reply
        {
            return Ok(Creation::Replay(reply.clone()));
        }
        if sequence != record.sequence.wrapping_add(1) {
            return Err(Status::SeqMisordered);
        }
        if record.principal != principal && !record.is_confirmed {
            return Err(Status::ClidInUse);
        }
        let is_first = !record.is_confirmed;
        let older = self.confirmed.get(&record.owner).copied();
        let replaced = older.filter(|older| *older != id && is_first);
        Ok(Creation::New { replaced, is_first })
    }

    /// The session was made: confirms the id, and keeps the reply for a retransmission.
    pub fn created(&mut self, id: u64, sequence: u32, reply: Vec<u8>) {
        let Some(record) = self.by_id.get_mut(&id) else {
            return;
        };
        record.sequence = sequence;
        record.reply = Some(reply);
        if !record.is_confirmed {
            record.is_confirmed = true;
            let owner = record.owner.clone();
            self.unconfirmed.remove(&owner);
            if let Some(older) = self.confirmed.insert(owner, id) {
                self.by_id.remove(&older);
            }
        }
    }

    /// Whether the id is known, and confirmed.
    #[must_use]
    pub fn standing(&self, id: u64) -> Option<bool> {
        self.by_id.get(&id).map(|record| record.is_confirmed)
    }

    /// The owner behind an id.
    #[must_use]
    pub fn owner(&self, id: u64) -> Option<&[u8]> {
        self.by_id.get(&id).map(|record| &*record.owner)
    }

    /// Takes an id away.
    pub fn remove(&mut self, id: u64) {
        let Some(record) = self.by_id.remove(&id) else {
            return;
        };
        for owners in [&mut self.confirmed, &mut self.unconfirmed] {
            if owners.get(&record.owner) == Some(&id) {
                owners.remove(&record.owner);
            }
        }
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn forget_unconfirmed(&mut self, owner: &[u8]) {
        if let Some(id) = self.unconfirmed.get(owner).copied() {
            self.remove(id);
        }
    }

    /// Makes room: an id that nobody has confirmed holds nothing.
    fn forget_one_unconfirmed(&mut self, address: IpAddr) -> Result<(), Status> {
        let of_address = |(_, record): &(&u64, &Record)| {
            !record.is_confirmed && (record.address == address || self.by_id.len() >= IDS_MAX)
        };
        let idle = self.by_id.iter().filter(of_address).map(|(id, _)| *id);
        let id = idle.min().ok_or(Status::Delay)?;
        self.remove(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const ROOT: Principal = (1, 0);
    const ALICE: Principal = (1, 1000);
    /// Now, and the lease, in milliseconds.
    const AT: (u64, u64) = (0, 60_000);

    fn asked(owner: &[u8], verifier: u8, principal: Principal) -> Exchange<'_> {
        Exchange {
            owner,
            verifier: [verifier; 8],
            principal,
            address: A,
            is_update: false,
            now_ms: 0,
        }
    }

    fn confirm(clients: &mut Clients, id: u64) -> Option<u64> {
        let Ok(Creation::New { replaced, .. }) = clients.create((id, 1), ROOT, AT) else {
            panic!("a new session");
        };
        clients.created(id, 1, vec![1]);
        replaced
    }

    fn confirmed(owner: &[u8], verifier: u8) -> (Clients, u64) {
        let mut clients = Clients::new(9);
        let id = clients.exchange(&asked(owner, verifier, ROOT), |_| false);
        let id = id.unwrap().id;
        assert_eq!(confirm(&mut clients, id), None);
        (clients, id)
    }

    #[test]
    fn case_1_a_new_owner_gets_an_unconfirmed_id() {
        let mut clients = Clients::new(9);
        let one = clients.exchange(&asked(b"a", 1, ROOT), |_| false).unwrap();
        assert!(!one.is_confirmed && one.id >> 32 == 9);
        assert_eq!(clients.standing(one.id), Some(false));
    }

    #[test]
    fn case_2_asking_again_gives_the_same_id() {
        let (mut clients, id) = confirmed(b"a", 1);
        let again = clients.exchange(&asked(b"a", 1, ROOT), |_| true).unwrap();
        assert_eq!((again.id, again.is_confirmed), (id, true));
        assert_eq!(again.sequence, 2);
    }

    #[test]
    fn case_3_another_principal_waits_until_nothing_is_held() {
        let (mut clients, id) = confirmed(b"a", 1);
        let other = asked(b"a", 1, ALICE);
        assert_eq!(clients.exchange(&other, |_| true), Err(Status::ClidInUse));
        let now = clients.exchange(&other, |_| false).unwrap();
        assert_eq!((now.gone, now.is_confirmed), (Some(id), false));
        assert_eq!(clients.standing(id), None);
    }

    #[test]
    fn case_4_an_unconfirmed_id_is_replaced() {
        let mut clients = Clients::new(9);
        let one = clients.exchange(&asked(b"a", 1, ROOT), |_| false).unwrap();
        let two = clients.exchange(&asked(b"a", 2, ALICE), |_| false).unwrap();
        assert_ne!(one.id, two.id);
        let stale = clients.create((one.id, 1), ROOT, AT);
        assert_eq!(stale, Err(Status::StaleClientId));
    }

    #[test]
    fn case_5_a_restarted_client_loses_its_state_when_it_confirms() {
        let (mut clients, old) = confirmed(b"a", 1);
        let new = clients.exchange(&asked(b"a", 2, ROOT), |_| true).unwrap();
        assert_ne!(new.id, old);
        assert_eq!(clients.standing(old), Some(true), "not before it confirms");
        assert_eq!(confirm(&mut clients, new.id), Some(old));
        assert_eq!(clients.standing(old), None);
    }

    #[test]
    fn cases_6_to_9_update_only_what_is_the_same() {
        let (mut clients, id) = confirmed(b"a", 1);
        let mut update = |owner: &[u8], verifier, principal| {
            let asked = Exchange {
                is_update: true,
                ..asked(owner, verifier, principal)
            };
            clients.exchange(&asked, |_| true).map(|found| found.id)
        };
        assert_eq!(update(b"a", 1, ROOT), Ok(id));
        assert_eq!(update(b"b", 1, ROOT), Err(Status::NoEnt));
        assert_eq!(update(b"a", 2, ROOT), Err(Status::NotSame));
        assert_eq!(update(b"a", 1, ALICE), Err(Status::Perm));
    }

    #[test]
    fn create_session_answers_a_retransmission_with_the_same() {
        let (mut clients, id) = confirmed(b"a", 1);
        assert_eq!(
            clients.create((id, 1), ROOT, AT),
            Ok(Creation::Replay(vec![1]))
        );
        assert_eq!(
            clients.create((id, 3), ROOT, AT),
            Err(Status::SeqMisordered)
        );
        assert_eq!(
            clients.create((id, 0), ROOT, AT),
            Err(Status::SeqMisordered)
        );
        assert_eq!(clients.create((7, 1), ROOT, AT), Err(Status::StaleClientId));
        assert!(matches!(
            clients.create((id, 2), ALICE, AT),
            Ok(Creation::New { replaced: None, .. })
        ));
        let other = clients.exchange(&asked(b"b", 1, ROOT), |_| true).unwrap();
        let refused = clients.create((other.id, 1), ALICE, AT);
        assert_eq!(refused, Err(Status::ClidInUse));
    }

    #[test]
    fn what_nobody_confirms_is_forgotten_after_a_lease() {
        let mut clients = Clients::new(9);
        for (now, is_there) in [(60_000, true), (60_001, false)] {
            let made = clients.exchange(&asked(b"a", 1, ROOT), |_| false).unwrap();
            let created = clients.create((made.id, 1), ROOT, (now, 60_000));
            assert_eq!(created.is_ok(), is_there);
        }
    }

    #[test]
    fn ids_of_an_address_are_bounded() {
        let mut clients = Clients::new(9);
        for number in 0..IDS_PER_ADDRESS_MAX as u32 {
            let owner = number.to_be_bytes();
            let made = clients.exchange(&asked(&owner, 1, ROOT), |_| false);
            confirm(&mut clients, made.unwrap().id);
        }
        let refused = clients.exchange(&asked(b"one more", 1, ROOT), |_| false);
        assert_eq!(refused, Err(Status::Delay));
        let mut elsewhere = asked(b"one more", 1, ROOT);
        elsewhere.address = IpAddr::from([10, 0, 0, 2]);
        assert!(clients.exchange(&elsewhere, |_| false).is_ok());
    }
}
