//! Connections that are cut, ranges that are not honoured, bytes that are not those published, hubs that are busy.

use std::fs;

use msao_server::hub::HubError;

use crate::hub_server::{COMMIT, Fault, HubServer, SIGNATURE, sha256};
use crate::support::{Client, holds, repository};

const WEIGHTS: &str = "model.safetensors";

/// Fetches with faults in the way of the weights, behind the request for their header.
async fn through(faults: &[Fault]) -> (HubServer, Client, Result<(), HubError>) {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    // The header is asked for first, and is to come.
    hub.fault(WEIGHTS, Fault::WholeFile);
    for fault in faults {
        hub.fault(WEIGHTS, fault.clone());
    }
    let mut client = Client::new(&hub);
    let result = client.fetch().await.map(|fetched| holds(&fetched.folder, &files));
    (hub, client, result)
}

#[actix_web::test]
async fn a_cut_file_is_gone_on_with() {
    let (hub, client, result) = through(&[Fault::Cut(10_000), Fault::Cut(20_000)]).await;
    result.unwrap();
    let ranges: Vec<_> = hub.seen().into_iter().filter(|seen| !seen.is_hub).skip(1).collect();
    let asked: Vec<Option<&str>> = ranges.iter().map(|seen| seen.range.as_deref()).collect();
    assert_eq!(asked, [None, Some("bytes=10000-"), Some("bytes=30000-")]);
    // The rest is to be of the same content as the beginning.
    let tag = format!("\"tag-of-{}\"", repository()[WEIGHTS].len());
    assert!(ranges[1..].iter().all(|seen| seen.if_range.as_deref() == Some(&tag)), "{ranges:?}");
    assert_eq!(client.done_bytes, client.planned[0].total_bytes);
}

#[actix_web::test]
async fn what_came_before_a_failure_is_kept_for_the_next_time() {
    let (hub, mut client, result) = through(&[Fault::Cut(30_000), Fault::Cut(0), Fault::Cut(0)]).await;
    assert!(matches!(result, Err(HubError::Unreachable { .. })), "{result:?}");
    let parts = client.parts();
    assert_eq!(parts.len(), 1);
    assert_eq!(fs::metadata(&parts[0]).unwrap().len(), 30_000);
    hub.forget_seen();
    let fetched = client.fetch().await.unwrap();
    holds(&fetched.folder, &repository());
    let last = hub.seen().into_iter().rfind(|seen| !seen.is_hub).unwrap();
    assert_eq!(
        (last.range.as_deref(), last.sent),
        (Some("bytes=30000-"), repository()[WEIGHTS].len() - 30_000)
    );
    assert!(fetched.fetched_bytes < fetched.total_bytes - 30_000 + 1);
    assert!(client.parts().is_empty());
}

#[actix_web::test]
async fn a_fetch_that_is_cancelled_keeps_what_came() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    hub.fault(WEIGHTS, Fault::WholeFile);
    hub.fault(WEIGHTS, Fault::Cut(40_000));
    // It pauses behind the cut for longer than anybody waits.
    client.settings.patience.first_pause = std::time::Duration::from_secs(3_600);
    let has_part = async {
        let blobs = client.cache.path().join("models--someone--tiny-llama/blobs");
        let part = blobs.join(format!("{}.incomplete", sha256(&repository()[WEIGHTS])));
        while fs::metadata(&part).map_or(0, |file| file.len()) < 40_000 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let mut ignore = |_: &msao_server::hub::Event<'_>| {};
    let fetching =
        msao_server::hub::fetch(&client.settings, &client.reference, Default::default(), &mut ignore);
    tokio::select! {
        done = fetching => panic!("{done:?}"),
        () = has_part => {}
    }
    client.settings.patience.first_pause = std::time::Duration::from_millis(1);
    hub.forget_seen();
    holds(&client.fetch().await.unwrap().folder, &repository());
    assert!(hub.seen().iter().any(|seen| seen.range.as_deref() == Some("bytes=40000-")));
}

#[actix_web::test]
async fn whoever_honours_no_range_begins_anew() {
    for fault in [Fault::WholeFile, Fault::OtherRange] {
        let (_hub, client, result) = through(&[Fault::Cut(10_000), fault]).await;
        result.unwrap();
        assert_eq!(client.done_bytes, client.planned[0].total_bytes);
    }
}

#[actix_web::test]
async fn a_part_that_fits_nothing_is_begun_anew() {
    let files = repository();
    let whole = &files[WEIGHTS];
    // Longer than the file; as long and of other bytes; shorter and of other bytes.
    for part in [vec![7; whole.len() + 1], vec![7; whole.len()], vec![7; 100]] {
        let hub = HubServer::start(files.clone()).await;
        let mut client = Client::new(&hub);
        let blobs = client.cache.path().join("models--someone--tiny-llama/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(whole))), part).unwrap();
        holds(&client.fetch().await.unwrap().folder, &files);
    }
    // The hub has no such range.
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    client.settings.patience.attempts = 1;
    hub.fault(WEIGHTS, Fault::WholeFile);
    hub.fault(WEIGHTS, Fault::Cut(10_000));
    assert!(client.fetch().await.is_err());
    client.settings.patience.attempts = 3;
    let status = Fault::Status(416, vec![("Content-Range", format!("bytes */{}", whole.len()))]);
    // Behind the request for the header.
    hub.fault_behind(1, WEIGHTS, status);
    hub.forget_seen();
    holds(&client.fetch().await.unwrap().folder, &files);
    let ranges =
        hub.seen().into_iter().filter(|seen| seen.path.contains("/resolve/") && seen.path.ends_with(WEIGHTS));
    let asked: Vec<Option<String>> = ranges.skip(1).map(|seen| seen.range).collect();
    assert_eq!(asked, [Some("bytes=10000-".to_owned()), None]);
}

#[actix_web::test]
async fn damaged_bytes_are_deleted_and_fetched_once_more() {
    let (_hub, client, result) = through(&[Fault::OtherBytes]).await;
    result.unwrap();
    assert!(client.parts().is_empty());
    let (hub, client, result) = through(&[Fault::OtherBytes, Fault::OtherBytes]).await;
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains(WEIGHTS) && error.contains("damaged twice") && error.contains("deleted"),
        "{error}"
    );
    assert!(client.parts().is_empty());
    let bytes = repository()[WEIGHTS].len();
    assert!(hub.weights_sent() <= 3 * bytes);
    let blob =
        client.cache.path().join("models--someone--tiny-llama/blobs").join(sha256(&repository()[WEIGHTS]));
    assert!(!blob.exists());
}

#[actix_web::test]
async fn files_of_another_length_are_not_taken() {
    let bytes = repository()[WEIGHTS].len();
    for length in [bytes - 1, bytes + 1, 10] {
        let (_hub, _client, result) = through(&[Fault::Length(length)]).await;
        result.unwrap();
        let (_hub, client, result) = through(&vec![Fault::Length(length); 3]).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("{length} bytes")), "{error}");
        assert!(!error.contains(SIGNATURE), "{error}");
        assert!(client.parts().is_empty());
    }
}

#[actix_web::test]
async fn what_changed_meanwhile_is_not_mixed() {
    let hub = HubServer::start(repository()).await;
    let mut client = Client::new(&hub);
    // Behind the request for the header.
    hub.fault_behind(1, WEIGHTS, Fault::LinkedEtag("ab".repeat(32)));
    let refused = client.refusal().await;
    assert!(refused.contains(WEIGHTS) && refused.contains("try again"), "{refused}");
}

#[actix_web::test]
async fn busy_hubs_are_waited_for_as_long_as_they_ask_and_no_longer() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    hub.fault("/revision/main", Fault::Status(503, vec![]));
    hub.fault("/revision/main", Fault::Status(429, vec![("Retry-After", "0".to_owned())]));
    hub.fault("/config.json", Fault::Status(500, vec![]));
    holds(&client.fetch().await.unwrap().folder, &files);

    let mut client = Client::new(&hub);
    hub.fault("/revision/main", Fault::Status(429, vec![("Retry-After", "3600".to_owned())]));
    let refused = client.refusal().await;
    assert!(refused.contains("3600 s") && refused.contains("HF_TOKEN"), "{refused}");

    for _ in 0..3 {
        hub.fault("/revision/main", Fault::Status(502, vec![]));
    }
    hub.forget_seen();
    let refused = client.refusal().await;
    assert!(refused.contains("502") && refused.contains("try again"), "{refused}");
    assert_eq!(hub.seen().len(), 3);
}

#[actix_web::test]
async fn two_processes_do_not_fetch_the_same() {
    let files = repository();
    let hub = HubServer::start(files.clone()).await;
    let mut client = Client::new(&hub);
    let locks = client.cache.path().join(".locks/models--someone--tiny-llama");
    fs::create_dir_all(&locks).unwrap();
    let held = fs::File::create(locks.join(format!("{}.lock", sha256(&files[WEIGHTS])))).unwrap();
    held.lock().unwrap();
    let before_weights =
        |hub: &HubServer| hub.seen().iter().filter(|seen| !seen.is_hub && seen.range.is_none()).count();
    let other = async {
        // All but the weights comes; then the other process is done with them.
        let snapshot = client.cache.path().join("models--someone--tiny-llama/snapshots").join(COMMIT);
        while !snapshot.join("README.md").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let blobs = client.cache.path().join("models--someone--tiny-llama/blobs");
        fs::write(blobs.join(sha256(&files[WEIGHTS])), &files[WEIGHTS]).unwrap();
        drop(held);
    };
    let mut ignore = |_: &msao_server::hub::Event<'_>| {};
    let fetching =
        msao_server::hub::fetch(&client.settings, &client.reference, Default::default(), &mut ignore);
    let (fetched, ()) = futures_util::join!(fetching, other);
    holds(&fetched.unwrap().folder, &files);
    assert_eq!(before_weights(&hub), 0);
    client.planned.clear();
}
