//! The generated PowerShell, by a grammar of PowerShell that somebody else wrote, and by the names
//! and parameters of the commands that it calls.
//!
//! The limit: a grammar knows what is well formed, not what runs. A wrong type, a property that an
//! object lacks, or a driver's behaviour is found on Windows only.

#![allow(clippy::unwrap_used, reason = "tests: a failure here is a failed test")]

use towline_tuning::script::{System, text};
use tree_sitter::{Node, Parser};
use tree_sitter_powershell::LANGUAGE;

/// Commands that the script may call, with the parameters that it may use, as Microsoft's reference
/// names them (modules NetAdapter, NetTCPIP, NFS, Microsoft.PowerShell.*). Lower case.
const COMMANDS: [(&str, &[&str]); 27] = [
    ("convertfrom-json", &[]),
    ("convertto-json", &["depth"]),
    ("find-netroute", &["remoteipaddress"]),
    ("get-childitem", &["path", "filter", "erroraction"]),
    ("get-command", &["erroraction"]),
    ("get-content", &["raw", "path"]),
    ("get-date", &[]),
    ("get-netadapter", &["name", "interfaceindex", "physical"]),
    (
        "get-netadapteradvancedproperty",
        &["name", "registrykeyword", "erroraction"],
    ),
    ("get-netadapterhardwareinfo", &["name", "erroraction"]),
    ("get-netadapterstatistics", &["name"]),
    ("get-nettcpsetting", &["settingname", "erroraction"]),
    ("get-nfsclientconfiguration", &[]),
    ("join-path", &[]),
    ("new-item", &["itemtype", "force", "path"]),
    ("out-null", &[]),
    ("out-string", &[]),
    ("rename-item", &["path", "newname"]),
    ("restart-netadapter", &["name"]),
    ("select-object", &["first", "unique"]),
    ("set-content", &["path"]),
    (
        "set-netadapteradvancedproperty",
        &["name", "registrykeyword", "registryvalue", "norestart"],
    ),
    ("sort-object", &["property", "descending"]),
    ("start-sleep", &["seconds"]),
    ("where-object", &[]),
    ("write-host", &[]),
    ("write-warning", &[]),
];

/// Programs of Windows, whose options are their own.
const PROGRAMS: [&str; 2] = ["ping", "powercfg"];

fn parse(script: &str) -> tree_sitter::Tree {
    let mut parser = Parser::new();
    parser.set_language(&LANGUAGE.into()).unwrap();
    parser.parse(script, None).unwrap()
}

/// Every node of that kind.
fn nodes<'a>(root: Node<'a>, kind: &str) -> Vec<Node<'a>> {
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(node) = waiting.pop() {
        if node.kind() == kind {
            found.push(node);
        }
        let mut cursor = node.walk();
        waiting.extend(node.children(&mut cursor));
    }
    found
}

#[test]
fn the_script_is_well_formed_and_damage_is_noticed() {
    let script = text(System::Windows, Some("10.0.0.1")).unwrap();
    let tree = parse(&script);
    assert!(
        !tree.root_node().has_error(),
        "{}",
        tree.root_node().to_sexp()
    );
    for (whole, damaged) in [
        ("}\n\nfunction Read-Property", "\n\nfunction Read-Property"),
        ("if ($Adapter -ne '') {", "if $Adapter -ne '' {"),
        ("foreach ($file in $files) {", "foreach ($file in ) {"),
        ("[string]$Peer = '10.0.0.1'", "[string]$Peer = '10.0.0.1"),
        ("Write-Report $card }", "Write-Report $card )"),
    ] {
        assert!(script.contains(whole), "{whole}");
        let broken = script.replacen(whole, damaged, 1);
        assert!(parse(&broken).root_node().has_error(), "{damaged}");
    }
}

#[test]
fn every_command_and_parameter_is_one_that_windows_has() {
    let script = text(System::Windows, None).unwrap();
    let tree = parse(&script);
    let word = |node: Node<'_>| script[node.byte_range()].to_ascii_lowercase();
    let own: Vec<String> = nodes(tree.root_node(), "function_name")
        .into_iter()
        .map(word)
        .collect();
    let mut called = 0;
    for command in nodes(tree.root_node(), "command") {
        let names = nodes(command, "command_name");
        let Some(name) = names.first().copied().map(word) else {
            continue;
        };
        called += 1;
        if own.contains(&name) || PROGRAMS.contains(&name.as_str()) {
            continue;
        }
        let known = COMMANDS.iter().find(|(known, _)| *known == name);
        let (_, parameters) = known.unwrap_or_else(|| panic!("{name} is no command"));
        let mut cursor = command.walk();
        let direct = command.children(&mut cursor);
        let given = direct.flat_map(|child| nodes(child, "command_parameter"));
        for parameter in given {
            // What lies in a pair of brackets belongs to the command in there.
            let mut above = parameter.parent();
            while let Some(node) = above.filter(|node| node.kind() != "command") {
                above = node.parent();
            }
            if above != Some(command) {
                continue;
            }
            let parameter = word(parameter);
            let bare = parameter.trim_start_matches('-');
            assert!(parameters.contains(&bare), "{name} {parameter}");
        }
    }
    assert!(called > 30, "{called} commands seen");
}

#[test]
fn the_properties_of_the_card_are_checked_applied_and_put_back() {
    let script = text(System::Windows, None).unwrap();
    for keyword in [
        "*JumboPacket",
        "*ReceiveBuffers",
        "*TransmitBuffers",
        "*RSS",
        "*RscIPv4",
        "*LsoV2IPv4",
        "*FlowControl",
    ] {
        assert!(script.contains(&format!("'{keyword}'")), "{keyword}");
    }
}
