package com.rabbitmq.perf;

import com.google.gson.Gson;
import com.google.gson.JsonParseException;
import com.rabbitmq.perf.Step.Pace;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Reads a spec file of PerfTestMulti and lists its steps in the order in which PerfTestMulti runs them. */
final class Spec {

  /** The percentages of the maximum at which `rate-vs-latency` measures. */
  private static final int[] PERCENTAGES = {
    1, 20, 40, 60, 80, 90, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105
  };

  private Spec() {}

  static List<Step> steps(String text) {
    List<Step> steps = new ArrayList<>();
    for (Object scenario : scenarios(text)) {
      steps.addAll(steps(new Scenario(map(scenario, "a scenario"))));
    }
    return distinct(steps);
  }

  /** The lenient reader that PerfTestMulti uses, too: single quotes are accepted. */
  private static List<?> scenarios(String text) {
    List<?> scenarios;
    try {
      scenarios = new Gson().fromJson(text, List.class);
    } catch (JsonParseException e) {
      throw new SpecException("the spec file is not a list of scenarios: " + e.getMessage());
    }
    if (scenarios == null || scenarios.isEmpty()) {
      throw new SpecException("the spec file has no scenario");
    }
    return scenarios;
  }

  /** A scenario of the file. */
  private record Scenario(Map<String, Object> json) {

    String name() {
      return text("name", null);
    }

    Step step(String label, Object params, Pace pace) {
      return new Step(name(), label, text("uri", "amqp://localhost"), map(params, "`params`"), pace);
    }

    String text(String key, String otherwise) {
      Object value = json.getOrDefault(key, otherwise);
      if (value instanceof String text) {
        return text;
      }
      throw new SpecException("a scenario has `" + key + "`: `" + value + "`; expected a string");
    }

    List<?> list(String key) {
      if (json.get(key) instanceof List<?> list && !list.isEmpty()) {
        return list;
      }
      throw new SpecException(
          "scenario `" + name() + "` has `" + key + "`: `" + json.get(key) + "`; expected a list with entries");
    }
  }

  private static List<Step> steps(Scenario scenario) {
    String type = scenario.text("type", null);
    return switch (type) {
      case "simple" -> simple(scenario);
      case "varying" -> varying(scenario);
      case "rate-vs-latency" -> rateVersusLatency(scenario);
      default -> throw new SpecException(
          "scenario `" + scenario.name() + "` has the type `" + type
              + "`; expected `simple`, `varying` or `rate-vs-latency`");
    };
  }

  private static List<Step> simple(Scenario scenario) {
    List<Step> steps = new ArrayList<>();
    for (Object params : scenario.list("params")) {
      steps.add(scenario.step("", params, new Pace.Given()));
    }
    return steps;
  }

  /** Every combination of the values; the last variable changes fastest. */
  private static List<Step> varying(Scenario scenario) {
    List<Step> steps = simple(scenario);
    List<Map<String, Object>> combinations = List.of(Map.of());
    for (Object variable : scenario.list("variables")) {
      Scenario json = new Scenario(map(variable, "a variable"));
      combinations = combine(combinations, json.name(), json.list("values"));
    }
    List<Step> varied = new ArrayList<>();
    for (Map<String, Object> values : combinations) {
      for (Step step : steps) {
        varied.add(step.labelled(label(values)).with(merged(step.params(), values)));
      }
    }
    return varied;
  }

  private static List<Map<String, Object>> combine(
      List<Map<String, Object>> combinations, String name, List<?> values) {
    List<Map<String, Object>> combined = new ArrayList<>();
    for (Map<String, Object> combination : combinations) {
      for (Object value : values) {
        combined.add(merged(combination, Map.of(name, value)));
      }
    }
    return combined;
  }

  private static List<Step> rateVersusLatency(Scenario scenario) {
    Object params = scenario.list("params").get(0);
    List<Step> steps = new ArrayList<>();
    steps.add(scenario.step("at maximum", params, new Pace.Maximum()));
    for (int percent : PERCENTAGES) {
      steps.add(scenario.step("at " + percent + "%", params, new Pace.PercentOfMaximum(percent)));
    }
    return steps;
  }

  private static String label(Map<String, Object> values) {
    List<String> parts = new ArrayList<>();
    values.forEach((name, value) -> parts.add(label(name, value)));
    return String.join(" ", parts);
  }

  private static String label(String name, Object value) {
    return name.equals("min-msg-size") ? number(value) + " B" : name + " " + number(value);
  }

  /** Numbers of JSON without a fraction are shown as whole numbers. */
  private static String number(Object value) {
    boolean isWhole = value instanceof Double number && number == Math.rint(number);
    return isWhole ? Long.toString(((Double) value).longValue()) : String.valueOf(value);
  }

  /** Prepends the name of the scenario, then a number, if labels are equal otherwise. */
  private static List<Step> distinct(List<Step> steps) {
    if (areDistinct(steps)) {
      return steps;
    }
    List<Step> named = new ArrayList<>();
    for (Step step : steps) {
      named.add(step.labelled((step.scenario() + " " + step.label()).trim()));
    }
    if (areDistinct(named)) {
      return named;
    }
    List<Step> numbered = new ArrayList<>();
    for (Step step : named) {
      numbered.add(step.labelled(step.label() + " #" + (numbered.size() + 1)));
    }
    return numbered;
  }

  private static boolean areDistinct(List<Step> steps) {
    Set<String> labels = new HashSet<>();
    return steps.stream().allMatch(step -> labels.add(step.label()));
  }

  static Map<String, Object> merged(Map<String, Object> params, Map<String, Object> others) {
    Map<String, Object> all = new LinkedHashMap<>(params);
    all.putAll(others);
    return all;
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> map(Object value, String what) {
    if (value instanceof Map<?, ?> map) {
      return (Map<String, Object>) map;
    }
    throw new SpecException(what + " is `" + value + "`; expected an object");
  }
}
