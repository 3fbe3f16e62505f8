import org.junit.Test
import com.lesfurets.jenkins.unit.BasePipelineTest
class FirstTest extends BasePipelineTest { @Test void a() { setUp(); assert new atq.LoadTest() != null } }
