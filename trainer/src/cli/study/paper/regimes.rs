//! The choice of fairness penalties (none, each alone, all) for mixtures and for networks (table 1,
//! figure 2, A.2, A.4).

use feamoe::learner::{LearnerOptions, Loss, Penalties};

use super::Context;
use super::case::{Case, Learned, no_more};
use super::section::{ACCURACY, AOD, BURDEN, Line, SPD, Section};
use crate::cli::study::network::Plan;
use crate::cli::study::plan::DataSet;
use crate::cli::study::regimes::with_targets;

/// Units of the hidden layers, as in the paper.
const HIDDEN: [usize; 2] = [30, 30];
/// Passes of a network that learns from all rows at once.
const PASSES: usize = 20;

/// The regimes: name for a mixture, name for a network, penalties.
const REGIMES: [(&str, &str, Penalties); 5] = {
    const INCREMENT: Option<f32> = Some(Penalties::INCREMENT);
    [
        ("MOE", "NN", Penalties::NONE),
        ("FEAMOE1: SPD", "NN, SPD", Penalties { spd: INCREMENT, ..Penalties::NONE }),
        ("FEAMOE2: AOD", "NN, AOD", Penalties { aod: INCREMENT, ..Penalties::NONE }),
        ("FEAMOE3: burden", "NN, burden", Penalties { burden: INCREMENT, ..Penalties::NONE }),
        ("FEAMOE: all", "FairNN: all", Penalties::ALL),
    ]
};

/// Learns in every regime.
pub fn study(context: &Context<'_>) -> anyhow::Result<Vec<Section>> {
    let Context { folder, runs, .. } = *context;
    let adult = Regimes {
        case: Case { folder, data: DataSet::Adult },
        title: "Regimes on Adult, judged on adult.test",
        part: "table 1, figure 2, A.2",
        every: 4_000,
        targets: "spd=0.05,aod=0.05,burden=0.03",
        published: vec![
            Line::published("NN", &[(ACCURACY, 0.8202), (SPD, 0.19), (AOD, 0.29), (BURDEN, 0.29)]),
            Line::published("FEAMOE: all", &[(ACCURACY, 0.8324), (SPD, 0.06), (AOD, 0.07), (BURDEN, 0.03)]),
        ],
        reason: "The mixture's published line comes out again, with a smaller burden gap. The published network does \
                 not: ours is more accurate and a third as unfair in AOD and burden; the paper prints neither its \
                 encoding nor its passes. Nor is a network under the same penalties left behind: it has the larger SPD, \
                 and the smaller AOD and the higher accuracy. Burden alone does the least here, in the paper the most. \
                 Penalties name no gap: with all three the mixture passes parity in AOD. Targets (last line) name it.",
    };
    let compas = Regimes {
        case: Case { folder, data: DataSet::Compas },
        title: "Regimes on COMPAS, 70 % to learn from, judged on the others",
        part: "A.2, A.4",
        every: 370,
        targets: "spd=0.05,aod=0.05,burden=0.02",
        published: vec![
            Line::published("NN", &[(ACCURACY, 0.6618)]),
            Line::published("FEAMOE: all", &[(ACCURACY, 0.6377), (SPD, 0.05), (AOD, 0.13), (BURDEN, 0.05)]),
        ],
        reason: "The published line is that of A.11, which the paper calls comparable to figure 5, whose numbers are not \
                 in print; its network is that of A.10. In the paper SPD and AOD work against each other on these rows, \
                 and mixtures are fairer than networks; here both gaps fall together, and a network that passes 20 times \
                 over the rows is the fairer and more accurate one under the same penalties. The targets leave less of \
                 both gaps than either.",
    };
    Ok(vec![adult.study(runs)?, compas.study(runs)?])
}

struct Regimes<'a> {
    case: Case<'a>,
    title: &'static str,
    part: &'static str,
    /// Rows between two new experts: a tenth of the data.
    every: u64,
    /// The targets of our own setting.
    targets: &'static str,
    published: Vec<Line>,
    reason: &'static str,
}

impl Regimes<'_> {
    fn study(self, runs: Option<u64>) -> anyhow::Result<Section> {
        let Self { case, title, part, every, targets, published, reason } = self;
        let mut lines = published;
        for (name, _, penalties) in REGIMES {
            lines.push(case.line(&Learned::paper(name, penalties, every), runs, &no_more)?);
        }
        // A network has from the start the penalties that the mixture reaches at its end.
        let (_, trainer) = case.learned(1, &Learned::paper("", Penalties::NONE, every))?;
        let increments = Some(trainer.learner().experts() - 1);
        for (manner, passes) in [("20 passes", PASSES), ("one pass", 1)] {
            for (_, name, penalties) in REGIMES {
                let plan = Plan { hidden: HIDDEN.into(), loss: Loss::Nll, penalties, increments, seed: 0 };
                lines.push(case.network(&format!("{name}; {manner}"), &plan, passes, runs, &no_more)?);
            }
        }
        let ours = LearnerOptions::default();
        lines.push(case.line(&Learned::default("our default", ours.clone()), runs, &no_more)?);
        let held = with_targets(ours, targets)?;
        lines.push(case.line(&Learned::default(format!("our targets {targets}"), held), runs, &no_more)?);
        Ok(Section { part, title: title.into(), lines, reason })
    }
}
