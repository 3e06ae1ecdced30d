package shop;

import jakarta.servlet.ServletException;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.InputStream;
import java.util.zip.CRC32;

@WebServlet(urlPatterns = "/", loadOnStartup = 1)
public class Echo extends HttpServlet {
    private String release;

    @Override
    public void init() throws ServletException {
        try (InputStream file = getServletContext().getResourceAsStream("/WEB-INF/RELEASE")) {
            release = new String(file.readAllBytes()).trim();
        } catch (IOException error) {
            throw new ServletException(error);
        }
        if (release.equals("broken")) {
            throw new ServletException("the catalog cannot be read");
        }
        // Properties of the environment are system properties here.
        log("the level is " + System.getProperty("LOG_LEVEL"));
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        byte[] body = request.getInputStream().readAllBytes();
        CRC32 crc = new CRC32();
        crc.update(body);
        String wait = request.getHeader("X-Wait");
        try {
            Thread.sleep(wait == null ? 0 : (long) (1000 * Double.parseDouble(wait)));
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        response.setContentType("text/plain");
        String id = request.getHeader("X-Id");
        String text = "id=%s len=%d crc=%d gen=%s%n".formatted(id == null ? "-" : id, body.length, crc.getValue(), release);
        response.getOutputStream().write(text.getBytes());
    }
}
