<?php
namespace Shop;

class Echoing
{
    private string $release;

    public function __construct(string $directory)
    {
        $this->release = trim(file_get_contents("$directory/RELEASE"));
        if ($this->release === 'broken') {
            throw new \RuntimeException('the catalog cannot be read');
        }
    }

    public function answer(array $server, string $body): string
    {
        usleep((int) (1e6 * (float) ($server['HTTP_X_WAIT'] ?? 0)));
        $id = $server['HTTP_X_ID'] ?? '-';
        return sprintf("id=%s len=%d crc=%d gen=%s\n", $id, strlen($body), crc32($body), $this->release);
    }
}
