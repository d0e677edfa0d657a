//! A connection's calls of version 3: answered from memory, or on the pool.
//!
//! GETATTR, LOOKUP, ACCESS and READ of what the worker's view has are answered at once. Invariant:
//! every call is answered once. The WRITE that goes straight from the socket into the file is in
//! [`super::intake`].

use std::borrow::Cow;

use towline_io::Output;
use towline_volume::view::{Located, Right};

use super::intake::Intake;
use super::job::Deferred;
use super::read::{Refusal, Source, Wanted};
use super::{Arguments, Procedure, Status, answer_hot, read};
use crate::blocking::{Finished, keep};
use crate::caller::Caller;
use crate::connection::{self, Connection, Done, warm};
use crate::ground::{Blocking, Cold, Find, Hot};
use crate::metrics::Event;
use crate::rpc::reply::{self, Accept};
use crate::rpc::{Call, Credential};
use crate::xdr::Writer;

/// What a job on the pool gives back.
#[derive(Debug)]
pub(crate) enum Step {
    /// A call was carried out.
    Finished(Finished),
    /// A file was opened for a READ.
    Read(Box<OpenedRead>),
    /// A file was opened for the WRITE at the front of the input.
    Write {
        xid: u32,
        opened: Result<Box<Source>, Status>,
    },
}

/// A call that must go to the pool.
#[derive(Debug)]
pub(crate) struct Cooler {
    procedure: Procedure,
    caller: Caller,
    /// A node that the worker has open.
    known: Option<Located>,
}

/// A READ whose file was opened on the pool, or not.
#[derive(Debug)]
pub(crate) struct OpenedRead {
    xid: u32,
    wanted: Wanted,
    opened: Result<Source, Refusal>,
    finds: Vec<Find>,
}

impl Connection {
    /// Carries out a call, unless it must go to the pool: then says how.
    pub(crate) fn call_v3(
        &mut self,
        procedure: Procedure,
        (call, credential): (&Call<'_>, Credential),
        output: &mut Output<Done>,
    ) -> Option<Cooler> {
        let xid = call.xid;
        let mut rest = call.arguments;
        let Ok(arguments) = Arguments::parse(procedure, &mut rest) else {
            let accept = Accept::GarbageArguments;
            self.refuse(output, |out| reply::plain(out, xid, accept));
            return None;
        };
        let caller = self.caller(credential);
        let answered = self.answer_v3(xid, procedure, &caller, &arguments, output);
        let known = answered.err()?;
        Some(Cooler {
            procedure,
            caller,
            known,
        })
    }

    /// Sends a call to the pool.
    pub(crate) fn defer_v3(
        &mut self,
        cooler: Cooler,
        message: Cow<'_, [u8]>,
        output: &mut Output<Done>,
    ) {
        let Cooler {
            procedure,
            caller,
            known,
        } = cooler;
        let deferred = Deferred {
            server: self.server().clone(),
            caller,
            message: keep(message),
            procedure,
            known,
        };
        self.in_flight += 1;
        output.defer(move || v3(Step::Finished(deferred.run())));
    }

    /// Goes on with what a job has left.
    pub(crate) fn completed_v3(&mut self, step: Step, output: &mut Output<Done>) {
        match step {
            Step::Finished(finished) => self.finished(finished, output),
            Step::Read(read) => {
                let OpenedRead {
                    xid,
                    wanted,
                    opened,
                    finds,
                } = *read;
                self.in_flight -= 1;
                self.absorb(finds);
                if let Ok(source) = &opened {
                    self.grant(source, Right::Read);
                }
                self.finish_read(xid, &wanted, opened, output);
            }
            Step::Write { xid, opened } => {
                if let Ok(opened) = &opened {
                    self.grant(opened, Right::Write);
                }
                self.intake = connection::Intake::V3(Intake::Opened { xid, opened });
            }
        }
    }

    /// Answers a call from memory. `Err`: it must go to the pool, with this node if the worker
    /// has it open.
    fn answer_v3(
        &mut self,
        xid: u32,
        procedure: Procedure,
        caller: &Caller,
        arguments: &Arguments<'_>,
        output: &mut Output<Done>,
    ) -> Result<(), Option<Located>> {
        if let Arguments::Read {
            file,
            offset,
            count,
        } = *arguments
        {
            let wanted = Wanted {
                file,
                offset,
                count,
            };
            self.read(xid, caller, wanted, output);
            return Ok(());
        }
        let shared = self.shared.clone();
        let mut view = shared.view.borrow_mut();
        let mut ground = Hot {
            server: &shared.server,
            view: &mut view,
            doors: &mut self.doors,
            caller,
        };
        let mut out = Writer::new(output.buffer());
        let start = reply::begin(&mut out, xid, Accept::Success);
        match answer_hot(&mut ground, arguments, &mut out) {
            Ok(status) => {
                reply::finish(&mut out, start, 0);
                let bytes = out.len() - start;
                self.answered(Event::V3(procedure, status), bytes);
                Ok(())
            }
            Err(Cold) => {
                out.truncate(start);
                let handle = arguments.first_handle();
                Err(handle.and_then(|handle| warm(view.node(handle))))
            }
        }
    }

    fn read(&mut self, xid: u32, caller: &Caller, wanted: Wanted, output: &mut Output<Done>) {
        let shared = self.shared.clone();
        let mut view = shared.view.borrow_mut();
        let mut ground = Hot {
            server: &shared.server,
            view: &mut view,
            doors: &mut self.doors,
            caller,
        };
        match read::hot(&mut ground, &wanted) {
            Ok(result) => {
                drop(view);
                self.finish_read(xid, &wanted, result, output);
            }
            Err(Cold) => {
                let known = warm(view.node(&wanted.file));
                drop(view);
                self.in_flight += 1;
                let caller = *caller;
                let server = shared.server.clone();
                output.defer(move || {
                    let mut ground = Blocking::new(&server, &caller, known);
                    let opened = read::open(&mut ground, &wanted);
                    let finds = ground.finds;
                    v3(Step::Read(Box::new(OpenedRead {
                        xid,
                        wanted,
                        opened,
                        finds,
                    })))
                });
            }
        }
    }

    fn finish_read(
        &mut self,
        xid: u32,
        wanted: &Wanted,
        opened: Result<Source, Refusal>,
        output: &mut Output<Done>,
    ) {
        match opened {
            Ok(source) => {
                let bytes = read::put(output, xid, wanted, source);
                self.shared.counters.count_read(u64::from(bytes));
                self.answered(Event::V3(Procedure::Read, Status::Ok), bytes as usize);
            }
            Err(refusal) => {
                read::refuse(&mut Writer::new(output.buffer()), xid, &refusal);
                self.answered(Event::V3(Procedure::Read, refusal.0), 0);
            }
        }
    }

    fn grant(&self, source: &Source, right: Right) {
        let Source { target, seen, .. } = source;
        let mut view = self.shared.view.borrow_mut();
        view.grant(target.located.clone(), &target.who, right, seen);
    }
}

/// A job's result for the connection.
pub(super) fn v3(step: Step) -> Done {
    Done(connection::Step::V3(step))
}
