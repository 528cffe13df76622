//! Drafts verified behind finished requests: what the server says of them, what it keeps, and what it forgets.

use msao_protocol::{
    Ask, ClientMessage, ErrorCode, FinishReason, RequestId, ServerMessage, TokenId, Verified, Verify,
};

use crate::speculation::{QUESTION, answer_to, ids};
use crate::support::{Client, Options, TestServer, ask, png, with_image};

/// The end token of the tiny model.
const END: TokenId = 2;

fn verify(request_id: RequestId, after: RequestId, start: u32, drafts: &[TokenId]) -> Verify {
    Verify {
        request_id,
        after,
        start,
        given: vec![],
        drafts: drafts.to_vec(),
        commit: false,
        log_probabilities: false,
    }
}

async fn verified(client: &mut Client, verify: Verify) -> Verified {
    let id = verify.request_id;
    client.send(&ClientMessage::Verify(verify)).await;
    match client.next().await {
        ServerMessage::Verified(verified) => {
            assert_eq!(verified.request_id, id);
            verified
        }
        other => panic!("not what verification says: {other:?}"),
    }
}

/// A question whose prompt is read, and not answered.
fn prompt(request_id: RequestId) -> Ask {
    Ask { max_new_tokens: 0, ..with_image(ask(request_id, QUESTION), png(64, 64)) }
}

fn question(request_id: RequestId) -> Ask {
    with_image(ask(request_id, QUESTION), png(64, 64))
}

#[actix_web::test]
async fn drafts_behind_a_prompt_are_judged_as_the_server_would_write() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let own = ids(&answer_to(&mut client, question(1)).await);
    assert!(own.len() > 6, "the tiny model should say more: {own:?}");
    let read = answer_to(&mut client, prompt(2)).await;
    assert_eq!((read.tokens, read.finish_reason), (0, FinishReason::Length));

    let next = |verified: &Verified| verified.next.as_ref().map(|token| token.id);
    // Nothing proposed: what is the first token?
    let first = verified(&mut client, verify(3, 2, 0, &[])).await;
    assert_eq!((first.accepted, next(&first), first.standing), (0, Some(own[0]), 0));
    // All right, wrong in the middle, and wrong from the start.
    let right = verified(&mut client, verify(4, 2, 0, &own[..5])).await;
    assert_eq!((right.accepted, next(&right)), (5, Some(own[5])));
    let mut wrong = own[..5].to_vec();
    wrong[3] = (wrong[3] + 1) % 479;
    let corrected = verified(&mut client, verify(5, 2, 0, &wrong)).await;
    assert_eq!((corrected.accepted, next(&corrected)), (3, Some(own[3])));
    let refused = verified(&mut client, verify(6, 2, 0, &[(own[0] + 1) % 479])).await;
    assert_eq!((refused.accepted, next(&refused)), (0, Some(own[0])));
    // Behind an answer: what it says itself stands, up to any place.
    for start in [0, 1, 4, own.len() as u32] {
        let behind = verified(&mut client, verify(10 + start, 1, start, &own[start as usize..])).await;
        assert_eq!(behind.accepted as usize, own.len() - start as usize);
        assert_eq!(behind.standing as usize, own.len(), "nothing was committed");
    }
}

#[actix_web::test]
async fn however_drafts_are_split_into_calls_the_answer_is_the_same() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let own = ids(&answer_to(&mut client, question(1)).await);
    for (round, size) in [1, 2, 3, 5, 7].into_iter().enumerate() {
        let id = 100 * (round as u32 + 1);
        answer_to(&mut client, prompt(id)).await;
        let (mut said, mut call) = (Vec::new(), id);
        // Every third draft is wrong; what is said instead is taken as given next.
        let mut given: Vec<TokenId> = Vec::new();
        while said.len() + given.len() < own.len() {
            call += 1;
            let at = said.len() + given.len();
            let mut drafts: Vec<TokenId> = own[at..].iter().copied().take(size).collect();
            if call % 3 == 0
                && let Some(last) = drafts.last_mut()
            {
                *last = (*last + 1) % 479;
            }
            let asked =
                Verify { given: given.clone(), commit: true, ..verify(call, id, said.len() as u32, &drafts) };
            let verified = verified(&mut client, asked).await;
            said.append(&mut given);
            said.extend(&drafts[..verified.accepted as usize]);
            assert_eq!(verified.standing as usize, said.len());
            given.extend(verified.next.map(|token| token.id));
        }
        said.append(&mut given);
        assert_eq!(said[..own.len()], own, "{size} drafts a call");
    }
}

#[actix_web::test]
async fn log_probabilities_are_the_target_s_and_an_end_token_ends() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let answer = answer_to(&mut client, question(1)).await;
    let own = ids(&answer);
    let asked = Verify { log_probabilities: true, ..verify(2, 1, 0, &own) };
    let judged = verified(&mut client, asked).await;
    assert_eq!(judged.log_probabilities.len(), own.len());
    for (log_probability, settled) in judged.log_probabilities.iter().zip(&answer.settled) {
        assert!((log_probability.exp() - settled.token.probability).abs() < 1e-4, "{judged:?}");
    }
    // Wherever the end is drafted, nothing behind it is looked at.
    let asked = Verify { log_probabilities: true, ..verify(3, 1, 2, &[END, 9, 9, 9]) };
    let ended = verified(&mut client, asked).await;
    assert_eq!(ended.log_probabilities.len(), 1);
    match ended.accepted {
        0 => assert_eq!(ended.next.unwrap().id, own[2]),
        accepted => assert_eq!((accepted, ended.next), (1, None)),
    }
}

#[actix_web::test]
async fn what_is_committed_is_what_later_questions_go_on_from() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let answer = answer_to(&mut client, question(1)).await;
    let own = ids(&answer);
    answer_to(&mut client, prompt(2)).await;
    let committed = Verify { commit: true, ..verify(3, 2, 0, &own) };
    assert_eq!(verified(&mut client, committed).await.standing as usize, own.len());
    let after = |id, before| Ask { continues: Some(before), ..ask(id, "and now?") };
    let behind_committed = answer_to(&mut client, after(4, 2)).await;
    let behind_written = answer_to(&mut client, after(5, 1)).await;
    assert_eq!(ids(&behind_committed), ids(&behind_written));
    // What was given to stand by the client's own rule counts as well, right or wrong.
    let given = Verify { given: vec![60, 61, 62], commit: true, ..verify(6, 2, 1, &[]) };
    assert_eq!(verified(&mut client, given).await.standing, 4);
}

#[actix_web::test]
async fn what_cannot_be_verified_is_refused_with_the_remedy() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    answer_to(&mut client, question(1)).await;
    let mut other = server.session().await;
    answer_to(&mut other, question(7)).await;
    let beyond = verify(10, 1, 400, &[]);
    let long = verify(11, 1, 0, &vec![9; 300]);
    let foreign = verify(12, 1, 0, &[479 + 200]);
    let unknown = verify(13, 99, 0, &[]);
    let of_another = verify(14, 7, 0, &[]);
    for (asked, code, word) in [
        (beyond, ErrorCode::Unsupported, "400"),
        (long, ErrorCode::TooLarge, "300 tokens"),
        (foreign, ErrorCode::Unsupported, "vocabulary"),
        (unknown, ErrorCode::Forgotten, "history"),
        (of_another, ErrorCode::Forgotten, "history"),
    ] {
        let id = asked.request_id;
        client.send(&ClientMessage::Verify(asked)).await;
        let report = client.failure(id).await;
        assert_eq!(report.code, code, "{report:?}");
        assert!(report.message.contains(word), "{report:?}");
    }
    // None of that broke what is kept.
    verified(&mut client, verify(20, 1, 0, &[])).await;
}
