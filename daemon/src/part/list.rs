//! The parts of one node, in order.
//!
//! Invariant: every part is told to stop before the first one is waited for; a tick never runs on
//! the runtime. Not promised: that a tick which has panicked is made up for; the next one comes in
//! time.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use towline_api::Status;

use super::{Page, Part, Route};
use crate::error::NodeError;

/// The list of parts.
#[derive(Clone)]
pub(crate) struct Parts(Arc<[Arc<dyn Part>]>);

impl Parts {
    /// A node of these parts.
    pub(crate) fn new(parts: Vec<Arc<dyn Part>>) -> Self {
        Self(parts.into())
    }

    /// What all of them answer.
    pub(crate) fn routes(&self) -> Vec<Route> {
        let parts = self.0.iter().cloned();
        parts.flat_map(Part::routes).collect()
    }

    /// The whole page of metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut page = Page::default();
        self.0.iter().for_each(|part| part.metrics(&mut page));
        page.into_text()
    }

    /// Adds to a status what the parts know.
    pub(crate) fn status(&self, mut status: Status) -> Status {
        self.0.iter().for_each(|part| part.status(&mut status));
        status
    }

    /// Begins to serve, on the control plane's runtime.
    ///
    /// # Errors
    /// That of the first part which cannot.
    pub(crate) fn start(&self) -> Result<(), NodeError> {
        for part in self.0.iter() {
            if let Some(every) = part.every() {
                tokio::spawn(tick(part.clone(), every));
            }
            part.start()?;
        }
        Ok(())
    }

    /// Stops all of them and waits for each. Blocks.
    pub(crate) fn stop(&self) {
        self.0.iter().for_each(|part| part.stop());
        self.0.iter().for_each(|part| part.join());
    }
}

/// Does what is due of one part until the runtime ends.
async fn tick(part: Arc<dyn Part>, every: std::time::Duration) {
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let part = part.clone();
        let done = tokio::task::spawn_blocking(move || part.tick()).await;
        if done.is_err_and(|error| error.is_panic()) {
            tracing::error!("regular work has panicked: please report this with the log above");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::part::page::{Kind, Tier};

    /// A part that writes down what is done with it.
    struct Noting {
        name: &'static str,
        done: Arc<Mutex<Vec<String>>>,
    }

    impl Noting {
        fn note(&self, what: &str) {
            let mut done = self.done.lock().unwrap();
            done.push(format!("{what} {}", self.name));
        }
    }

    impl Part for Noting {
        fn metrics(&self, page: &mut Page) {
            page.head(self.name, Kind::Gauge, Tier::Stable, "A name.");
            page.line(self.name, "", 1);
        }

        fn status(&self, status: &mut Status) {
            status.notes.push(self.name.to_owned());
        }

        fn every(&self) -> Option<Duration> {
            Some(Duration::from_secs(3_600))
        }

        fn tick(&self) {
            // A part that fails keeps no other from its work.
            assert_ne!(self.name, "one", "made up");
            self.note("tick");
        }

        fn stop(&self) {
            self.note("stop");
        }

        fn join(&self) {
            self.note("join");
        }
    }

    fn two() -> (Parts, Arc<Mutex<Vec<String>>>) {
        let done = Arc::<Mutex<Vec<String>>>::default();
        let part = |name| -> Arc<dyn Part> {
            let done = done.clone();
            Arc::new(Noting { name, done })
        };
        (Parts::new(vec![part("one"), part("two")]), done)
    }

    #[test]
    fn all_are_told_to_stop_before_the_first_is_waited_for() {
        let (parts, done) = two();
        parts.stop();
        let done = done.lock().unwrap();
        assert_eq!(*done, ["stop one", "stop two", "join one", "join two"]);
    }

    #[test]
    fn pages_show_the_parts_in_the_order_of_the_list() {
        let (parts, _) = two();
        assert_eq!(
            parts.metrics(),
            "# HELP one A name. (stable)\n# TYPE one gauge\none 1\n\
             # HELP two A name. (stable)\n# TYPE two gauge\ntwo 1\n"
        );
        assert_eq!(parts.status(Status::default()).notes, ["one", "two"]);
    }

    #[tokio::test]
    async fn what_is_due_at_the_start_is_done_and_a_panic_hurts_nobody_else() {
        let (parts, done) = two();
        parts.start().unwrap();
        let is_done = || done.lock().unwrap().iter().any(|done| done == "tick two");
        for _ in 0..1_000 {
            if is_done() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_done());
    }
}
