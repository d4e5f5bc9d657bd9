//! What only a real relay can show: how long it serves nobody after a start, and what its SDKs have then.

use std::time::Instant;

use super::super::judgement::Step;
use super::super::sdks::Sdk;
use super::super::stage::Stage;
use super::super::stage::flag_key;
use super::Played;
use crate::ui::time::duration;

/// A restart makes connected SDKs connect again, and so brings them the kill switch; meanwhile nobody who connects is served.
pub fn in_the_outage<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        step.tell("Your relay is ended and started again. Its SDKs lose their connections and try to connect again.");
        let checkout = flag_key("checkout")?;
        let since = Instant::now();
        stage.restart_relay().await?;
        let first = stage.sdks.answer_of_the_relay(&checkout).await;
        stage.sdks.connect_again(stage.relay.patience()).await?;
        let served = since.elapsed();
        step.tell(format!("It served nobody for {}; SDKs that were connected kept what they had.", duration(served)));
        step.check("the relay's answer at first", "503", first);
        step.check_after("the relay's answer then", "serves", stage.sdks.answer_of_the_relay(&checkout).await, served);
        stage.measure("a start in the outage, until it serves anybody", served);
        for sdk in [Sdk::Connected, Sdk::ConnectedLate] {
            stage.sdk(step, sdk, ("checkout", "off v43"), since).await?;
        }
        stage.relay_when(step, "cut off", since).await?;
        Ok(())
    })
}
