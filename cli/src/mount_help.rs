//! `towline mount-help`: the commands that mount a node's volumes on a client.
//!
//! Where no node answers, the commands assume its defaults and a comment above them says so.

use crate::failure::Failure;
use crate::mounting::{self, Facts, System};
use crate::options::NodeUrl;
use crate::{client, output};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline mount-help                                   for every system
  towline mount-help linux | sudo sh -n                look before you run
  towline mount-help windows --node http://10.0.0.1:8420";

pub(crate) fn run(node: &NodeUrl, system: Option<System>) -> Result<(), Failure> {
    let (facts, note) = match client::status(node) {
        Ok(status) => (Facts::of(&status, Some(&node.url)), None),
        Err(Failure::Unreachable(why)) => (
            Facts::guessed(&node.url),
            Some(format!(
                "# {why}\n# These commands assume the default volumes and ports.\n\n"
            )),
        ),
        Err(failure) => return Err(failure),
    };
    let mut text = note.unwrap_or_default();
    let systems = system.map_or(System::ALL.to_vec(), |system| vec![system]);
    for (place, system) in systems.into_iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        text.push_str(&mounting::help(&facts, system));
    }
    output::print(&text)
}
