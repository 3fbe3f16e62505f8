package com.rabbitmq.perf;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** Tests of what needs no broker. fetch.sh runs them. */
public final class SpecTest {

  private static final String VARYING =
      "[{'name': 'sizes', 'type': 'varying', 'uri': 'amqp://u:p@rabbitmq:5672', 'params': [{'time-limit': 30}],"
          + " 'variables': [{'name': 'min-msg-size', 'values': [5000, 1000000]}]}]";
  private static final String RATES =
      "[{'name': 'rates', 'type': 'rate-vs-latency', 'params': [{'time-limit': 30, 'rate': 7}]}]";

  private SpecTest() {}

  public static void main(String[] arguments) {
    partsDifferByAtMostOneAndTheirSumIsTheTotal();
    singleQuotesAreAccepted();
    everyValueIsAStep();
    combinationsOfValuesRunInTheOrderOfPerfTest();
    ratesArePartsOfTheMeasuredMaximum();
    producersAndConsumersAreSplitAndRatesAreNot();
    workersShareARoutingKeyOnlyIfCountsAreSplit();
    scenariosWithEqualLabelsAreToldApartByName();
    mistakesNameWhatIsExpected();
    parametersOverrideThoseOfTheFile();
    System.out.println("10 tests of images/perftest passed");
  }

  private static void partsDifferByAtMostOneAndTheirSumIsTheTotal() {
    for (int total = 0; total < 50; total++) {
      for (int count = 1; count < 12; count++) {
        List<Integer> parts = new ArrayList<>();
        for (int index = 0; index < count; index++) {
          parts.add(new Share(index, count).of(total));
        }
        equal(parts.stream().mapToInt(part -> part).sum(), total);
        check(parts.get(0) - parts.get(count - 1) <= 1);
      }
    }
  }

  private static void singleQuotesAreAccepted() {
    Step step = Spec.steps(VARYING).get(0);
    equal(step.uri(), "amqp://u:p@rabbitmq:5672");
    equal(ScenarioFactory.paramsFromJSON(step.params()).getTimeLimit(), 30);
  }

  private static void everyValueIsAStep() {
    List<Step> steps = Spec.steps(VARYING);
    equal(labels(steps), List.of("5000 B", "1000000 B"));
    equal(ScenarioFactory.paramsFromJSON(steps.get(1).params()).getMinMsgSize(), 1_000_000);
  }

  private static void combinationsOfValuesRunInTheOrderOfPerfTest() {
    String variables =
        "{'name': 'consumer-prefetch', 'values': [1, 2]}, {'name': 'min-msg-size', 'values': [10, 20]}";
    List<Step> steps = Spec.steps(VARYING.replace("{'name': 'min-msg-size', 'values': [5000, 1000000]}", variables));
    equal(
        labels(steps),
        List.of("consumer-prefetch 1 10 B", "consumer-prefetch 1 20 B", "consumer-prefetch 2 10 B",
            "consumer-prefetch 2 20 B"));
  }

  private static void ratesArePartsOfTheMeasuredMaximum() {
    List<Step> steps = Spec.steps(RATES);
    equal(steps.size(), 18);
    equal(labels(steps).subList(0, 3), List.of("at maximum", "at 1%", "at 20%"));
    equal(rate(Part.paced(steps.get(0), 0)), 7f);
    equal(rate(Part.paced(steps.get(2), 1234)), 246f);
  }

  private static void producersAndConsumersAreSplitAndRatesAreNot() {
    Step whole = Spec.steps(RATES.replace("'rate'", "'producer-count': 10, 'consumer-count': 1, 'rate'")).get(0);
    Map<String, Object> second = new Part(new Share(1, 3), true, "run").of(whole).params();
    MulticastParams params = ScenarioFactory.paramsFromJSON(second);
    equal(params.getProducerCount(), 3);
    equal(params.getConsumerCount(), 0);
    equal(params.getProducerRateLimit(), 7f);
    Map<String, Object> each = new Part(new Share(1, 3), false, "run").of(whole).params();
    equal(ScenarioFactory.paramsFromJSON(each).getProducerCount(), 10);
  }

  private static void workersShareARoutingKeyOnlyIfCountsAreSplit() {
    Step step = Spec.steps(VARYING).get(0);
    check(key(0, true, step).equals(key(1, true, step)));
    check(!key(0, false, step).equals(key(1, false, step)));
    equal(key(0, true, step.with(Map.of("routing-key", "own"))), "own");
  }

  private static void scenariosWithEqualLabelsAreToldApartByName() {
    String two = "[{'name': 'a', 'type': 'simple', 'params': [{}, {}]}, {'name': 'b', 'type': 'simple', 'params': [{}]}]";
    equal(labels(Spec.steps(two)), List.of("a #1", "a #2", "b #3"));
    equal(labels(Spec.steps(two.replace("{}, {}", "{}"))), List.of("a", "b"));
  }

  private static void mistakesNameWhatIsExpected() {
    fails("expected `simple`, `varying` or `rate-vs-latency`", () -> Spec.steps("[{'name': 'a', 'type': 'b'}]"));
    fails("not a list of scenarios", () -> Spec.steps("{"));
    fails("no scenario", () -> Spec.steps(""));
    fails("expected a whole number", () -> split("'producer-count': 1.5"));
    fails("queue-pattern", () -> split("'queue-pattern': 'q-%d'"));
    fails("ATQ_SHARE_INDEX is `3`", () -> new Share(3, 3));
    fails("Could not find property", () -> {
      Runner.check(split("'time-limti': 3"));
      return null;
    });
    fails("expected NAME=VALUE", () -> with("confirm").override(Spec.steps(VARYING).get(0)));
    fails("PERFTEST_WAIT is `soon`", () -> new Settings(Map.of("PERFTEST_WAIT", "soon")).patience());
  }

  private static void parametersOverrideThoseOfTheFile() {
    Step step = with(" time-limit=5  flags=persistent,mandatory ").override(Spec.steps(VARYING).get(0));
    MulticastParams params = ScenarioFactory.paramsFromJSON(step.params());
    equal(params.getTimeLimit(), 5);
    equal(params.getFlags(), List.of("persistent", "mandatory"));
  }

  private static Settings with(String params) {
    return new Settings(Map.of("PERFTEST_PARAMS", params));
  }

  private static Step split(String param) {
    return new Part(new Share(0, 2), true, "run").of(Spec.steps(VARYING.replace("'time-limit': 30", param)).get(0));
  }

  private static Object key(int index, boolean isSplit, Step step) {
    return new Part(new Share(index, 2), isSplit, "run").of(step).params().get("routing-key");
  }

  private static float rate(Map<String, Object> params) {
    return ScenarioFactory.paramsFromJSON(params).getProducerRateLimit();
  }

  private static List<String> labels(List<Step> steps) {
    return steps.stream().map(Step::label).toList();
  }

  private static void fails(String text, Supplier<?> call) {
    try {
      call.get();
    } catch (SpecException e) {
      check(e.getMessage().contains(text), e.getMessage());
      return;
    }
    check(false, "no error: " + text);
  }

  private static void equal(Object ours, Object wanted) {
    check(ours.equals(wanted), ours + " instead of " + wanted);
  }

  private static void check(boolean holds, String... text) {
    if (!holds) {
      throw new AssertionError(String.join(" ", text));
    }
  }
}
