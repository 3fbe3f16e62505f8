package com.rabbitmq.perf;

import com.rabbitmq.perf.Step.Pace;
import java.util.Map;
import java.util.Set;

/** Derives the parameters of one worker from those of the whole test. */
final class Part {

  private static final Set<String> ROUTING =
      Set.of("routing-key", "random-routing-key", "routing-key-cache-size", "queue-pattern");

  private final Share share;
  private final boolean isSplit;
  private final String run;

  /**
   * @param isSplit true if counts are those of all workers together, false if each worker has them all
   * @param run identifies the run at the broker
   */
  Part(Share share, boolean isSplit, String run) {
    this.share = share;
    this.isSplit = isSplit;
    this.run = run;
  }

  /**
   * Splits producers and consumers. Rates and numbers of messages are those of one producer or consumer in PerfTest, so they
   * do not change. Without a routing key of its own the step gets one. It is the same for all workers if counts are split: as
   * in a single process, every consumer gets the messages of all producers.
   */
  Step of(Step step) {
    Map<String, Object> params = Spec.merged(step.params(), Map.of());
    if (isSplit) {
      params.put("producer-count", share.of(count(step, "producer-count")));
      params.put("consumer-count", share.of(count(step, "consumer-count")));
    }
    if (share.count() > 1 && isSplit && params.containsKey("queue-pattern")) {
      throw new SpecException(
          "scenario `" + step.scenario() + "` has a `queue-pattern`, which cannot be split between "
              + share.count() + " workers; use 1 worker, or PERFTEST_COUNTS=worker");
    }
    if (params.keySet().stream().noneMatch(ROUTING::contains)) {
      params.put("routing-key", routingKey(step));
    }
    return step.with(params);
  }

  private String routingKey(Step step) {
    String worker = isSplit ? "" : " worker " + share.index();
    return run + worker + " " + step.scenario() + " " + step.label();
  }

  /** True if this worker has neither producers nor consumers. */
  static boolean isIdle(Step part) {
    return count(part, "producer-count") == 0 && count(part, "consumer-count") == 0;
  }

  /** The parameters with the rate of a producer for this maximum in messages a second. */
  static Map<String, Object> paced(Step step, double maximum) {
    if (!(step.pace() instanceof Pace.PercentOfMaximum pace)) {
      return step.params();
    }
    Map<String, Object> params = Spec.merged(step.params(), Map.of());
    params.remove("rate");
    params.put("producer-rate-limit", (int) (maximum * pace.percent() / 100));
    return params;
  }

  /** PerfTest's default is 1. */
  static int count(Step step, String name) {
    Object value = step.params().getOrDefault(name, 1.0);
    try {
      double count = Double.parseDouble(value.toString());
      if (count >= 0 && count <= 1_000_000 && count == Math.rint(count)) {
        return (int) count;
      }
    } catch (NumberFormatException e) {
      // Reported below.
    }
    throw new SpecException(
        "scenario `" + step.scenario() + "` has `" + name + "`: `" + value + "`; expected a whole number from 0");
  }
}
