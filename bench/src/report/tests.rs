//! The whole report on journals with known answers.

use std::{env, fs, path::PathBuf, process};

use super::{
    figures::{Against, PolicyFigures},
    goals,
    journal::Measured,
    policies::{CLOUD_ONLY, LAYER_SPLIT, MSAO, MSAO_RISK, PAPER_NETWORKS, WITHOUT_MAS, WITHOUT_SPECULATION},
    write,
};
use crate::{
    load::{LoadReport, LoadSettings, PolicyLoad, Searched},
    record::Record,
};

const REQUESTS: u32 = 200;
const MACHINE: &str = r#"{"machine": {"processor": "A CPU", "cores": 2, "load_before": null},
    "server_peak_bytes": 250000000, "command": ["/somewhere/msao-bench", "run", "--set", "/somewhere/held-out"]}"#;

fn record(request: u32, policy: &str, network: &str) -> Record {
    Record {
        request: format!("q{request}"),
        family: "colour".into(),
        models: None,
        network: network.into(),
        policy: policy.into(),
        answer: "red".into(),
        is_right: true,
        first_shown_ms: 40.0,
        ttft_ms: 60.0,
        total_ms: 100.0 + f64::from(request),
        tokens: 5,
        up_bytes: 50_000,
        down_bytes: 400,
        vision_bytes: 20_000,
        audio_bytes: 29_000,
        edge_flops: 1_000_000_000,
        cloud_flops: 4_000_000_000,
        proposed_drafts: 4,
        accepted_drafts: 3,
        rounds: 2,
        strategy: "cloud".into(),
        stood: false,
        shadow_agreed: None,
        predicted_ms: None,
        spans: Vec::new(),
        failure: None,
    }
}

/// Every policy meets every goal, unless `change` makes it worse.
fn measured(change: impl Fn(&mut Record)) -> Measured {
    let mut measured = Measured::default();
    let policies: [(&str, f64, u64, u64); 6] = [
        (CLOUD_ONLY, 1.0, 50_000, 4_000),
        (LAYER_SPLIT, 0.8, 80_000, 2_000),
        (MSAO, 0.4, 10_000, 2_000),
        (MSAO_RISK, 0.2, 2_000, 800),
        (WITHOUT_MAS, 0.45, 50_000, 4_000),
        (WITHOUT_SPECULATION, 0.9, 10_000, 1_900),
    ];
    for network in PAPER_NETWORKS {
        for (policy, times, up_bytes, cloud_flops) in policies {
            for request in 0..REQUESTS {
                let mut one = record(request, policy, network);
                one.total_ms *= times;
                (one.up_bytes, one.cloud_flops) = (up_bytes, cloud_flops);
                change(&mut one);
                measured.add(one);
            }
        }
    }
    let load = |policy: &str, saturation_per_s| PolicyLoad {
        policy: policy.into(),
        reaching_share: 1.0,
        unloaded_ms: 90.0,
        server_peak_bytes: Some(300_000_000),
        searches: (0..3)
            .map(|repeat| Searched {
                repeat,
                saturation_per_s: saturation_per_s + f64::from(repeat),
                overload_per_s: Some(saturation_per_s * 1.1),
                trials: Vec::new(),
                past: Vec::new(),
            })
            .collect(),
    };
    measured.load = Some(LoadReport {
        settings: LoadSettings {
            models: None,
            network: None,
            requests: 64,
            seconds: 20.0,
            sessions: 128,
            server_cpus: None,
        },
        bound_ms: 450.0,
        policies: vec![load(CLOUD_ONLY, 10.0), load(MSAO, 18.0), load(MSAO_RISK, 27.0)],
    });
    measured
}

fn unmet(measured: &Measured) -> Vec<String> {
    let goals = goals::all(measured, &PolicyFigures::all(measured));
    goals.into_iter().filter(|goal| goal.is_met != Some(true)).map(|goal| goal.goal).collect()
}

#[test]
fn figures_are_those_of_the_records() {
    let measured = measured(|_| ());
    let all = PolicyFigures::all(&measured);
    let cloud = &all[0];
    assert_eq!((cloud.policy.as_str(), cloud.network.as_str()), (CLOUD_ONLY, PAPER_NETWORKS[0]));
    let p50 = cloud.p50_ms.unwrap();
    assert_eq!(p50.value, 100.0 + f64::from(REQUESTS - 1) / 2.0);
    assert!(p50.low < p50.value && p50.value < p50.high);
    assert_eq!(cloud.acceptance.unwrap().value, 0.75);
    // 5 tokens, the first at 60 ms; the median request ends at 199.5 ms.
    assert!((cloud.tpot_ms.unwrap().value - (199.5 - 60.0) / 4.0).abs() < 1e-9);
    assert!((cloud.tokens_per_s.unwrap().value - 5.0 / 0.1995).abs() < 1e-9);
    let against = Against::of(&measured, PAPER_NETWORKS[1], MSAO, CLOUD_ONLY).unwrap();
    let ratio = against.p50_ratio.unwrap();
    assert!(
        [ratio.value, ratio.low, ratio.high].iter().all(|found| (found - 0.4).abs() < 1e-12),
        "{ratio:?}"
    );
    assert_eq!(against.up_bytes_ratio.unwrap().value, 0.2);
    assert_eq!(against.accuracy_points.unwrap().value, 0.0);
}

#[test]
fn operations_that_nobody_counted_are_not_zero() {
    let all = PolicyFigures::all(&measured(|record| record.cloud_flops = 0));
    assert!(all.iter().all(|one| one.cloud_flops.is_none() && one.edge_flops.is_some()));
    let some = PolicyFigures::all(&measured(|record| {
        record.cloud_flops *= u64::from(record.policy != MSAO_RISK);
    }));
    assert!(some.iter().all(|one| one.cloud_flops.is_some()));
}

#[test]
fn failures_are_wrong_answers_without_a_latency() {
    let measured = measured(|record| {
        if record.policy == MSAO && record.request == "q199" {
            record.failure = Some("the link was cut".into());
        }
    });
    let all = PolicyFigures::all(&measured);
    let msao = all.iter().find(|one| one.policy == MSAO).unwrap();
    assert_eq!((msao.requests, msao.failures), (200, 1));
    assert_eq!(msao.accuracy.unwrap().value, 0.995);
    assert!((msao.p50_ms.unwrap().value - 0.4 * 199.0).abs() < 1e-9);
}

#[test]
fn each_goal_is_met_by_what_meets_it_and_missed_by_what_does_not() {
    assert_eq!(unmet(&measured(|_| ())), Vec::<String>::new());
    let wrong = unmet(&measured(|record| record.is_right &= record.policy != MSAO || record.request != "q7"));
    assert_eq!(wrong, ["MSAO, verified: accuracy on all inputs, on every network"]);
    let slow = unmet(&measured(|record| {
        if record.policy == MSAO_RISK && record.network == PAPER_NETWORKS[2] {
            record.total_ms *= 4.0;
        }
    }));
    assert_eq!(slow.len(), 2, "{slow:?}");
    assert!(slow.iter().all(|goal| goal.starts_with("MSAO, risk-controlled: p50 latency")));
    let heavy = unmet(&measured(|record| {
        if record.policy == MSAO {
            record.up_bytes = 60_000;
        }
    }));
    assert_eq!(heavy.len(), 2, "its own goal, and the ablation that shows nothing: {heavy:?}");
    let mut idle = measured(|_| ());
    idle.load = None;
    assert_eq!(unmet(&idle).len(), 2, "what was not measured is not met");
}

fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("msao-report-{name}-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn runs_of_parts_add_up_and_those_of_other_models_do_not() {
    let (one, other, out) = (folder("part-1"), folder("part-2"), folder("parts"));
    let write_part = |folder: &PathBuf, requests: std::ops::Range<u32>, models: &str, machine: &str| {
        let records = requests.flat_map(|request| {
            [CLOUD_ONLY, MSAO].map(|policy| Record {
                models: Some(models.into()),
                is_right: policy == CLOUD_ONLY || request % 50 > 0,
                ..record(request, policy, PAPER_NETWORKS[0])
            })
        });
        let lines: String = records.map(|record| serde_json::to_string(&record).unwrap() + "\n").collect();
        fs::write(folder.join("journal.jsonl"), lines).unwrap();
        fs::write(folder.join("machine.json"), machine).unwrap();
    };
    let run = [one.clone(), other.clone()];
    write_part(&one, 0..120, "big@1", MACHINE);
    write_part(&other, 100..200, "big@1", MACHINE);
    write(&run, &out).unwrap();
    let page = fs::read_to_string(out.join("RESULTS.md")).unwrap();
    // 4 of 200 differ: 0.0197 * (1.96 / 0.003)^2 requests.
    assert!(page.contains("| -2.00 (") && page.contains(" | 200 of 8409 |"), "{page}");
    assert!(page.contains("needs 8409 requests, there are 200"), "{page}");
    assert_eq!(page.matches("- command: `").count(), 2);
    assert!(page.contains("- models: big@1\n"), "{page}");
    write_part(&other, 100..200, "small@2", MACHINE);
    let error = format!("{:#}", write(&run, &out).unwrap_err());
    assert!(error.contains("big@1") && error.contains("small@2") && error.contains("apart"), "{error}");
    write_part(&other, 100..200, "big@1", &MACHINE.replace("A CPU", "Another"));
    let error = format!("{:#}", write(&run, &out).unwrap_err());
    assert!(error.contains("Another") && error.contains("apart"), "{error}");
    for folder in [one, other, out] {
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn the_same_journal_gives_the_same_files_and_prose_stays() {
    let (run, out) = (folder("in"), folder("out"));
    let journal: String = measured(|_| ())
        .networks
        .values()
        .flat_map(|policies| policies.values().flat_map(|requests| requests.values()))
        .map(|record| serde_json::to_string(record).unwrap() + "\n")
        .collect();
    fs::write(run.join("journal.jsonl"), journal).unwrap();
    fs::write(run.join("machine.json"), MACHINE).unwrap();
    let page = out.join("RESULTS.md");
    fs::write(&page, "# Ours\n\n<!-- measured:begin -->\n<!-- measured:end -->\n\nWhy.\n").unwrap();
    write(std::slice::from_ref(&run), &out).unwrap();
    let first = fs::read_to_string(&page).unwrap();
    assert!(first.starts_with("# Ours\n") && first.ends_with("\nWhy.\n"), "{first}");
    assert!(first.contains("- A CPU, 2 cores\n- the server's peak memory: 250 MB\n- command: `msao-bench run --set held-out`\n"), "{first}");
    assert!(first.contains("| MSAO, verified | 100.0 |"), "{first}");
    let plot = out.join("plots/latency-cdf-20ms-200mbit.svg");
    let drawn = fs::read_to_string(&plot).unwrap();
    assert!(first.contains("(plots/latency-cdf-20ms-200mbit.svg)"));
    assert!(drawn.contains("MSAO, verified") && drawn.contains("answers complete, %"));
    let mut torn = fs::read(run.join("journal.jsonl")).unwrap();
    torn.extend(b"{\"request\": \"q2");
    fs::write(run.join("journal.jsonl"), torn).unwrap();
    write(std::slice::from_ref(&run), &out).unwrap();
    assert_eq!(fs::read_to_string(&page).unwrap(), first);
    assert_eq!(fs::read_to_string(&plot).unwrap(), drawn);
    fs::write(&page, "no markers\n").unwrap();
    assert!(write(std::slice::from_ref(&run), &out).unwrap_err().to_string().contains("measured:begin"));
    fs::write(run.join("journal.jsonl"), "{}\n").unwrap();
    assert!(write(std::slice::from_ref(&run), &out).unwrap_err().to_string().contains("line 1"));
    for folder in [run, out] {
        fs::remove_dir_all(folder).unwrap();
    }
}
