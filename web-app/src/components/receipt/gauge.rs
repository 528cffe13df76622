//! A modality's gauge: how much of it the question does not need.

use leptos::prelude::*;
use msao_protocol::ModalityPlanReceipt;

use crate::receipt::draw::gauge::gauge;

/// The gauge; `None` where nothing scored the modality.
pub(super) fn gauge_view(one: &ModalityPlanReceipt, testid: &str) -> Option<impl IntoView + use<>> {
    let mas = one.mas?;
    let label = format!(
        "MAS {:.2}: the question does not need {:.0} % of it. Relevance {:.2}, density {:.2}.",
        mas.mas,
        mas.mas * 100.0,
        mas.relevance,
        mas.density
    );
    Some(view! {
        <div class="gauge" data-testid=format!("{testid}-gauge") data-mas=mas.mas.to_string() title=label.clone()>
            <div class="drawing" inner_html=gauge(f64::from(mas.mas)).svg(Some(&label))></div>
            <strong aria-hidden="true">{format!("{:.2}", mas.mas)}</strong>
            <span aria-hidden="true">"not needed (MAS)"</span>
        </div>
    })
}
