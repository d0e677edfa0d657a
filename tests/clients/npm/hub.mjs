// @huggingface/hub, as web pages and JavaScript programs use it: reads every file of a repository,
// the empty one too, writes one, and sends a large file. Arguments: endpoint, token, folder that acme/tiny-llama is of.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const hub = require("@huggingface/hub");
const [hubUrl, accessToken, folder] = process.argv.slice(2);
const repo = "acme/tiny-llama";
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)));

async function judge(repo, revision) {
  const listed = [];
  for await (const entry of hub.listFiles({ repo, revision, recursive: true, hubUrl })) {
    if (entry.type === "file") listed.push(entry.path);
  }
  assert.deepEqual(listed.sort(), [...files].sort());
  for (const path of files) {
    const expected = readFileSync(join(folder, path));
    const info = await hub.fileDownloadInfo({ repo, path, revision, hubUrl });
    assert.equal(info.size, expected.length, path);
    const blob = await hub.downloadFile({ repo, path, revision, hubUrl, xet: false });
    assert.ok(Buffer.from(await blob.arrayBuffer()).equals(expected), path);
  }
}

await judge(repo);
assert.equal(await hub.fileExists({ repo, path: "absent", hubUrl }), false);
assert.equal(await hub.downloadFile({ repo, path: "absent", hubUrl }), null);
await hub.checkRepoAccess({ repo, hubUrl });
assert.equal((await hub.modelInfo({ name: repo, hubUrl })).name, repo);
assert.equal((await hub.whoAmI({ accessToken, hubUrl })).name, "towline");

for (const type of ["model", "dataset"]) {
  const made = { type, name: "acme/by-npm" };
  assert.equal(await hub.repoExists({ repo: made, hubUrl }), false);
  await hub.createRepo({ repo: made, accessToken, hubUrl });
  assert.equal(await hub.repoExists({ repo: made, hubUrl }), true);
  await assert.rejects(
    hub.createRepo({ repo: { type, name: "acme/hidden" }, private: true, accessToken, hubUrl }),
    /models.tokens/,
  );
  const uploads = files.map((path) => ({ path, content: new Blob([readFileSync(join(folder, path))]) }));
  await hub.uploadFiles({ repo: made, files: uploads, accessToken, hubUrl, useXet: false });
  await judge(made);
  await assert.rejects(
    hub.commit({ repo: made, title: "x", isPullRequest: true, operations: [], accessToken, hubUrl }),
    /create_pr/,
  );
  assert.equal(await hub.countCommits({ repo: made, hubUrl }), 2);
  const commits = [];
  for await (const commit of hub.listCommits({ repo: made, batchSize: 1, hubUrl })) commits.push(commit.oid);
  assert.equal(new Set(commits).size, 2);
  await hub.createBranch({ repo: made, branch: "feature/x", accessToken, hubUrl });
  await judge(made, "feature/x");
  await hub.deleteBranch({ repo: made, branch: "feature/x", accessToken, hubUrl });
  await hub.deleteFile({ repo: made, path: "config.json", accessToken, hubUrl });
  assert.equal(await hub.fileExists({ repo: made, path: "config.json", hubUrl }), false);
  const lists = { model: hub.listModels, dataset: hub.listDatasets };
  const names = [];
  for await (const entry of lists[type]({ search: { query: "npm" }, hubUrl })) names.push(entry.name);
  assert.deepEqual(names, ["acme/by-npm"]);
  await hub.deleteRepo({ repo: made, accessToken, hubUrl });
  assert.equal(await hub.repoExists({ repo: made, hubUrl }), false);
}

// A large file, which goes in parts side by side where the node says so.
for (const type of ["model", "dataset"]) {
  const made = { type, name: "acme/by-npm-parts" };
  await hub.createRepo({ repo: made, accessToken, hubUrl });
  const large = randomBytes((7 << 20) + 1);
  const file = { path: "large.bin", content: new Blob([large]) };
  await hub.uploadFile({ repo: made, file, accessToken, hubUrl, useXet: false });
  const blob = await hub.downloadFile({ repo: made, path: file.path, hubUrl, xet: false });
  assert.ok(Buffer.from(await blob.arrayBuffer()).equals(large), "large.bin");
  await hub.deleteRepo({ repo: made, accessToken, hubUrl });
}
