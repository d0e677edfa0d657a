//! DELETE, MKCOL, OPTIONS and the methods that there are not, on writable and read-only volumes.
//!
//! What stands in the directory afterwards is looked at through the file system.

use super::driver::Node;

fn ask(node: &Node, method: &str, path: &str) -> u16 {
    node.ask(&format!("{method} {path} HTTP/1.1\r\nHost: n\r\n\r\n"))
        .status
}

#[test]
fn folders_are_made_one_at_a_time() {
    let node = Node::new();
    assert_eq!(ask(&node, "MKCOL", "/files/projects/a/b"), 409);
    assert_eq!(ask(&node, "MKCOL", "/files/projects/a/"), 201);
    assert_eq!(ask(&node, "MKCOL", "/files/projects/a/b"), 201);
    assert_eq!(ask(&node, "MKCOL", "/files/projects/a"), 405);
    assert_eq!(ask(&node, "MKCOL", "/files/models/a"), 403);
    assert_eq!(ask(&node, "MKCOL", "/files/new"), 404);
    assert!(node.path("projects/a/b").is_dir());
    let body = "MKCOL /files/projects/c HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(node.ask(body).status, 415);
}

#[test]
fn files_and_empty_folders_are_removed() {
    let node = Node::new();
    std::fs::create_dir_all(node.path("projects/d/e")).unwrap();
    node.write("projects/f", b"x");
    node.write("models/f", b"x");
    assert_eq!(ask(&node, "DELETE", "/files/projects/d"), 409);
    assert_eq!(ask(&node, "DELETE", "/files/projects/d/e/"), 204);
    assert_eq!(ask(&node, "DELETE", "/files/projects/d"), 204);
    assert_eq!(ask(&node, "DELETE", "/files/projects/f/"), 404);
    assert_eq!(ask(&node, "DELETE", "/files/projects/f"), 204);
    assert_eq!(ask(&node, "DELETE", "/files/projects/f"), 404);
    assert_eq!(ask(&node, "DELETE", "/files/projects/none/f"), 404);
    assert_eq!(ask(&node, "DELETE", "/files/models/f"), 403);
    assert_eq!(ask(&node, "DELETE", "/files/projects/"), 405);
    assert_eq!(ask(&node, "DELETE", "/files/projects/../f"), 400);
}

#[test]
fn a_removal_can_be_made_conditional() {
    let node = Node::new();
    node.write("projects/f", b"x");
    let delete = |tag: &str| {
        let request =
            format!("DELETE /files/projects/f HTTP/1.1\r\nHost: n\r\nIf-Match: {tag}\r\n\r\n");
        node.ask(&request).status
    };
    assert_eq!((delete("\"x\""), delete("*")), (412, 204));
}

#[test]
fn unknown_methods_are_told_the_known_ones() {
    let node = Node::new();
    let reply =
        node.ask("POST /files/projects/x HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(reply.status, 405);
    let methods = Some("GET, HEAD, PUT, DELETE, MKCOL, OPTIONS");
    assert_eq!(reply.field("Allow"), methods);
    let options = node.ask("OPTIONS /files/projects/x HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!((options.status, options.field("Allow")), (204, methods));
}

#[test]
fn a_refusal_never_reflects_what_was_sent() {
    let node = Node::new();
    let reply =
        node.ask("GET /files/<script>/x HTTP/1.1\r\nHost: n\r\nAccept: application/json\r\n\r\n");
    assert_eq!(reply.status, 404);
    assert!(!reply.text().contains("script"), "{}", reply.text());
    assert_eq!(reply.field("Content-Type"), Some("application/json"));
}
