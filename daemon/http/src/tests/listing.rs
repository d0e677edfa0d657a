//! Directories and the index of volumes, for people and for programs.
//!
//! Both forms are compared with what was put into the directory, hostile names included.

use super::driver::Node;

fn get(path: &str, accept: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: n\r\nAccept: {accept}\r\n\r\n")
}

const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
const JSON: &str = "application/json";

#[test]
fn a_folder_without_its_slash_is_redirected_to_itself() {
    let node = Node::new();
    std::fs::create_dir(node.path("models/a b")).unwrap();
    for (path, place) in [
        ("/files", "/files/"),
        ("/files/models", "/files/models/"),
        ("/files/models/a%20b", "/files/models/a%20b/"),
    ] {
        let reply = node.ask(&get(path, HTML));
        assert_eq!(
            (reply.status, reply.field("Location")),
            (301, Some(place)),
            "{path}"
        );
    }
    node.write("models/f", b"");
    assert_eq!(node.ask(&get("/files/models/f/", HTML)).status, 404);
}

#[test]
fn the_index_names_what_the_address_may_reach() {
    let node = Node::new();
    let page = node.ask(&get("/files/", HTML)).text();
    assert!(
        page.contains("href=\"models/\"") && page.contains("href=\"projects/\""),
        "{page}"
    );
    assert!(!page.contains("hidden"), "{page}");
    let list = node.ask(&get("/files/", JSON)).text();
    assert_eq!(
        list,
        "{\"volumes\":[\
         {\"name\":\"models\",\"href\":\"models/\",\"kind\":\"model\",\"writable\":false},\
         {\"name\":\"projects\",\"href\":\"projects/\",\"kind\":\"project\",\"writable\":true},\
         {\"name\":\"locked\",\"href\":\"locked/\",\"kind\":\"cache\",\"writable\":true}]}\n"
    );
}

#[test]
fn a_folder_is_listed_for_people_and_for_programs() {
    let node = Node::new();
    std::fs::create_dir(node.path("models/sub")).unwrap();
    node.write("models/b <i>.txt", b"12345");
    std::os::unix::fs::symlink("x", node.path("models/link")).unwrap();
    let reply = node.ask(&get("/files/models/", HTML));
    assert_eq!(
        reply.field("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    let page = reply.text();
    assert!(
        page.contains("<a href=\"b%20%3Ci%3E.txt\">b &lt;i&gt;.txt</a>"),
        "{page}"
    );
    assert!(
        page.contains("<a href=\"sub/\">sub/</a>") && page.contains("5 B"),
        "{page}"
    );
    assert!(!page.contains("href=\"link"), "{page}");
    let list = node.ask(&get("/files/models/", JSON)).text();
    let start = "{\"volume\":\"models\",\"path\":\"/\",\"entries\":[{\"name\":\"b <i>.txt\",\
                 \"href\":\"b%20%3Ci%3E.txt\",\"kind\":\"file\",\"size\":5,\"modified\":\"20";
    assert!(list.starts_with(start), "{list}");
    assert!(
        list.contains("\"name\":\"link\",\"href\":\"link\",\"kind\":\"symlink\""),
        "{list}"
    );
    assert!(list.ends_with("\"next\":null}\n"), "{list}");
    let head = node.ask("HEAD /files/models/ HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_long_folder_comes_in_pages_that_join_without_gap() {
    let node = Node::new();
    for number in 0..2_500 {
        node.write(&format!("models/f{number:04}"), b"");
    }
    let whole = node.ask(&get("/files/models/", JSON)).text();
    assert_eq!(
        whole.matches("\"name\":\"").count(),
        2_500,
        "all of them unasked"
    );
    assert!(whole.ends_with("\"next\":null}\n"));
    let page = node.ask(&get("/files/models/", HTML)).text();
    assert_eq!(page.matches("href=\"f").count(), 2_500);
    let (mut seen, mut query, mut pages) = (0, "?limit=1000".to_owned(), 0);
    loop {
        let reply = node.ask(&get(&format!("/files/models/{query}"), JSON));
        let text = reply.text();
        for name in text.split("\"name\":\"").skip(1) {
            assert_eq!(&name[..5], format!("f{seen:04}"));
            seen += 1;
        }
        pages += 1;
        let next = text.split("\"next\":").nth(1).unwrap();
        let Some(next) = next.strip_prefix('"') else {
            break;
        };
        query = next.split('"').next().unwrap().to_owned();
    }
    assert_eq!((seen, pages), (2_500, 3));
    let page = node
        .ask(&get("/files/models/?after=f0100&limit=10", HTML))
        .text();
    assert!(
        page.contains("next page") && !page.contains("f0100<"),
        "{page}"
    );
}
