import static io.gatling.javaapi.core.CoreDsl.*;
import static io.gatling.javaapi.http.HttpDsl.*;

import io.gatling.javaapi.core.*;
import io.gatling.javaapi.http.*;

/** Visitors of a web site: each logs in with a row of users.csv of its own, and views a page three times. */
public class ExampleSimulation extends Simulation {

  private static final String TARGET = System.getenv().getOrDefault("TARGET_URL", "http://localhost:8080");
  private static final String TOKEN = System.getenv().getOrDefault("TOKEN", "");

  // This worker's part of all users.
  private static final int USERS = Integer.getInteger("users", 1);

  // `split` gives each worker its own rows; `queue` fails if there are fewer rows than users.
  private final FeederBuilder<String> accounts = csv("/atq/data/users.csv").queue();

  private final HttpProtocolBuilder http =
      io.gatling.javaapi.http.HttpDsl.http.baseUrl(TARGET).authorizationHeader("Bearer " + TOKEN);

  private final ScenarioBuilder visitors =
      scenario("visitors")
          .feed(accounts)
          .exec(http("login").get("/login/#{name}").check(status().is(200)))
          .repeat(3)
          .on(pause(java.time.Duration.ofMillis(200)), exec(http("page").get("/#{page}").check(status().is(200))));

  {
    setUp(visitors.injectOpen(rampUsers(USERS).during(8))).protocols(http);
  }
}
