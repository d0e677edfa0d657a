//! Downloads a whole model twice, with the Rust crate `hf-hub` 1.0 and with 0.5, which asks other
//! questions: a HEAD and a tree there, a ranged GET and the siblings here. Prints the directory of
//! each snapshot. Invariant: nothing is asked but the endpoint that was named.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, repo, revision, cache] = arguments.as_slice() else {
        bail!("usage: towline-hub-client ENDPOINT ORG/MODEL REVISION CACHE");
    };
    let cache = PathBuf::from(cache);
    println!(
        "{}",
        new(endpoint, repo, revision, cache.join("new"))?.display()
    );
    println!(
        "{}",
        old(endpoint, repo, revision, cache.join("old"))?.display()
    );
    Ok(())
}

/// hf-hub 1.0.
fn new(endpoint: &str, repo: &str, revision: &str, cache: PathBuf) -> Result<PathBuf> {
    let (owner, name) = repo.split_once('/').context("ORG/MODEL")?;
    let client = hf_hub::HFClient::builder()
        .endpoint(endpoint)
        .cache_dir(cache);
    let client = client.build_sync()?;
    let model = client.model(owner, name);
    let first = model
        .snapshot_download()
        .revision(revision.to_owned())
        .send()?;
    // Again, with everything cached: the same directory.
    let again = model
        .snapshot_download()
        .revision(revision.to_owned())
        .send()?;
    anyhow::ensure!(first == again, "{first:?} became {again:?}");
    Ok(first)
}

/// hf-hub 0.5.
fn old(endpoint: &str, repo: &str, revision: &str, cache: PathBuf) -> Result<PathBuf> {
    use hf_hub_old::{Repo, RepoType, api::sync::ApiBuilder};
    let api = ApiBuilder::new()
        .with_endpoint(endpoint.to_owned())
        .with_cache_dir(cache);
    let api = api.with_progress(false).build()?;
    let repo = Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned());
    let repo = api.repo(repo);
    let info = repo.info()?;
    let mut directory = None;
    // It asks for the first byte of every file, and an empty one has none; it encodes no space.
    let can = |name: &str| name != "empty.txt" && !name.contains(' ');
    for file in info.siblings.iter().filter(|file| can(&file.rfilename)) {
        let path = repo.get(&file.rfilename)?;
        let depth = file.rfilename.split('/').count();
        let above = path
            .ancestors()
            .nth(depth)
            .context("a path without a directory")?;
        directory = Some(above.to_owned());
    }
    directory.context("the model has no files")
}
