//! What is asked of the hub when all goes well: what is needed, nothing twice, no token to others.

use std::fs;

use hf_hub::{Cache, Repo};
use msao_server::hub::{Wanted, cached, licence_of};

use crate::hub_server::{COMMIT, HubServer, ID, git_blob, sha256};
use crate::support::{Client, holds, repository, sharded};

#[actix_web::test]
async fn a_checkpoint_comes_whole_with_its_licence_and_nothing_else() {
    for files in [repository(), sharded()] {
        let hub = HubServer::start(files.clone()).await;
        let mut client = Client::new(&hub);
        let fetched = client.fetch().await.unwrap();
        holds(&fetched.folder, &files);
        assert!(fetched.folder.ends_with("tiny-llama"), "{}", fetched.folder.display());
        assert_eq!((fetched.commit.as_str(), fetched.licence.as_deref()), (COMMIT, Some("apache-2.0")));
        assert_eq!(licence_of(&fetched.folder).as_deref(), Some("apache-2.0"));
        let plan = &client.planned[0];
        assert_eq!((plan.total_bytes, plan.total_bytes), (fetched.total_bytes, client.done_bytes));
        assert!(plan.missing_bytes < plan.total_bytes && plan.missing_bytes > plan.total_bytes / 2);
        assert_eq!(fetched.fetched_bytes, fetched.total_bytes);
        // One request for each file's header and one for the file.
        let weights = hub.seen().into_iter().filter(|seen| !seen.is_hub).count();
        assert_eq!(weights, 2 * files.keys().filter(|name| name.ends_with(".safetensors")).count());
        assert!(client.parts().is_empty());
    }
}

#[actix_web::test]
async fn the_cache_is_laid_out_as_the_hubs_other_tools_read_it() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    client.fetch().await.unwrap();
    let top = client.cache.path().join("models--someone--tiny-llama");
    assert_eq!(fs::read_to_string(top.join("refs/main")).unwrap(), COMMIT);
    let target = |name: &str| fs::read_link(top.join("snapshots").join(COMMIT).join(name)).unwrap();
    let weights = format!("../../blobs/{}", sha256(&files["model.safetensors"]));
    assert_eq!(target("model.safetensors").to_str(), Some(weights.as_str()));
    let config = format!("../../blobs/{}", git_blob(&files["config.json"]));
    assert_eq!(target("config.json").to_str(), Some(config.as_str()));
    let found =
        Cache::new(client.cache.path().to_owned()).repo(Repo::model(ID.to_owned())).get("config.json");
    assert!(found.is_some());
}

#[actix_web::test]
async fn the_token_goes_to_the_hub_alone() {
    let hub = HubServer::start(repository()).await;
    hub.ask_for("hf_secret");
    let mut client = Client::new(&hub).with_token("hf_secret");
    client.fetch().await.unwrap();
    let seen = hub.seen();
    assert!(
        seen.iter().any(|seen| !seen.is_hub) && seen.iter().any(|seen| seen.path.starts_with("/cached/"))
    );
    for seen in seen {
        let expected = seen.is_hub.then_some("Bearer hf_secret");
        assert_eq!(seen.authorization.as_deref(), expected, "{}", seen.path);
    }
}

#[actix_web::test]
async fn what_the_listing_leaves_out_the_files_tell() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    hub.tell_no_hashes();
    let mut client = Client::new(&hub);
    holds(&client.fetch().await.unwrap().folder, &files);
    let heads: Vec<_> = hub.seen().into_iter().filter(|seen| seen.method == "HEAD").collect();
    assert!(!heads.is_empty() && heads.iter().all(|seen| seen.is_hub));
}

#[actix_web::test]
async fn nothing_is_fetched_twice_and_a_pinned_commit_asks_nobody() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    let first = client.fetch().await.unwrap();
    hub.forget_seen();
    let second = client.fetch().await.unwrap();
    assert_eq!((second.fetched_bytes, &second.folder), (0, &first.folder));
    let asked: Vec<String> = hub.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked, [format!("/api/models/{ID}/revision/main")]);

    hub.forget_seen();
    client.reference = client.reference.at(COMMIT).unwrap();
    assert_eq!(client.fetch().await.unwrap().commit, COMMIT);
    assert!(hub.seen().is_empty());
}

#[actix_web::test]
async fn what_is_damaged_on_the_disk_is_found_and_fetched_again() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    let fetched = client.fetch().await.unwrap();
    let weights = fetched.folder.join("model.safetensors");
    let mut bytes = files["model.safetensors"].clone();
    bytes[5_000] ^= 1;
    fs::write(&weights, bytes).unwrap();
    client.fetch_wanting(Wanted { verify: true, ..Wanted::default() }).await.unwrap();
    holds(&fetched.folder, &files);
    // One that was cut is seen without reading it.
    fs::write(&weights, b"cut").unwrap();
    client.fetch().await.unwrap();
    holds(&fetched.folder, &files);
}

#[actix_web::test]
async fn without_a_network_the_cache_serves() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    client.settings.is_offline = true;
    let refused = client.refusal().await;
    assert!(refused.contains("not in the cache") && refused.contains("msao-server fetch"), "{refused}");
    assert!(hub.seen().is_empty());

    client.settings.is_offline = false;
    let online = client.fetch().await.unwrap();
    hub.forget_seen();
    client.settings.is_offline = true;
    let offline = client.fetch().await.unwrap();
    assert_eq!((&offline.folder, &offline.licence), (&online.folder, &online.licence));
    assert!(hub.seen().is_empty());

    // Not told to be offline, and nobody answers.
    client.settings.is_offline = false;
    hub.stop().await;
    assert_eq!(client.fetch().await.unwrap().folder, online.folder);
    assert_eq!(cached(&client.settings, &client.reference).unwrap().total_bytes, online.total_bytes);
    // What is not whole does not count.
    fs::remove_file(fs::canonicalize(online.folder.join("tokenizer.json")).unwrap()).unwrap();
    assert_eq!(cached(&client.settings, &client.reference), None);
    let refused = client.refusal().await;
    assert!(refused.contains("cannot be reached") && refused.contains("--hub-endpoint"), "{refused}");
}
