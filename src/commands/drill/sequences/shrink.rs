//! Makes a story that fails shorter: leaves steps out, and what happens in the middle of commands, as long as the same rule
//! breaks. What it does not know is how a story is played.

use std::time::Duration;
use std::time::Instant;

use super::judge::Rule;
use super::steps::Step;
use super::steps::Story;
use super::steps::What;

/// How often it is tried, and for how long.
const TRIES_MAX: usize = 200;
const WITHIN: Duration = Duration::from_secs(120);

/// Shortens `story`, of which `rule` was broken. `breaks` plays a story and gives the rule that it breaks.
pub async fn shrink<Played>(story: &Story, rule: Rule, mut breaks: impl FnMut(Story) -> Played) -> Story
where
    Played: Future<Output = Option<Rule>>,
{
    let until = Instant::now() + WITHIN;
    let mut tries = 0;
    let mut shortest = story.clone();
    // Big pieces first, then single steps, then what happens in the middle of commands.
    let mut size = shortest.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < shortest.steps.len() && tries < TRIES_MAX && Instant::now() < until {
            let end = (at + size).min(shortest.steps.len());
            let left = [&shortest.steps[..at], &shortest.steps[end..]].concat();
            let shorter = Story { steps: left, ..shortest.clone() };
            tries += 1;
            if breaks(shorter.clone()).await == Some(rule) {
                shortest = shorter;
            } else {
                at = end;
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    let mut place = 0;
    while let Some(step) = shortest.steps.get(place) {
        if let Some(calmer) = calmer(step).filter(|_| tries < TRIES_MAX && Instant::now() < until) {
            let mut shorter = shortest.clone();
            shorter.steps[place] = calmer;
            tries += 1;
            if breaks(shorter.clone()).await == Some(rule) {
                shortest = shorter;
                continue;
            }
        }
        place += 1;
    }
    shortest
}

/// The step without the last of what happens in the middle of its command.
fn calmer(step: &Step) -> Option<Step> {
    let What::Typed(typed) = &step.what else { return None };
    let mut typed = typed.clone();
    typed.meanwhile.pop()?;
    Some(Step { what: What::Typed(typed), ..*step })
}

#[cfg(test)]
mod tests {
    use super::super::steps::generator;
    use super::*;

    #[tokio::test]
    async fn only_what_matters_is_left() {
        let story = (0..).map(|seed| generator::story(seed, true)).find(|story| story.steps.len() > 12).unwrap();
        let wanted: Vec<usize> = vec![2, 7, 11];
        let breaks = |shorter: Story| {
            let numbers: Vec<usize> = shorter.steps.iter().map(|step| step.number).collect();
            let all = wanted.iter().all(|number| numbers.contains(number));
            async move { all.then_some(Rule::AtRest) }
        };
        let shortest = shrink(&story, Rule::AtRest, breaks).await;
        let numbers: Vec<usize> = shortest.steps.iter().map(|step| step.number).collect();
        assert_eq!(numbers, wanted);
        let calm = |step: &Step| !matches!(&step.what, What::Typed(typed) if !typed.meanwhile.is_empty());
        assert!(shortest.steps.iter().all(calm));
    }

    #[tokio::test]
    async fn another_rule_is_another_story() {
        let story = generator::story(1, true);
        let shortest = shrink(&story, Rule::AtRest, |_| async { Some(Rule::Ends) }).await;
        assert_eq!(shortest, story);
    }
}
